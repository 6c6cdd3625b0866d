"""What frames cost, without a bus: `python -m tests.benchmarks.frames`. CPU time, so that a busy machine counts less.

Per number of servers, all of them at work: the leader's flow frame, its fold, a frame of which every server changed, a
whole one; and what a task's four events cost the leader to count.
"""

import argparse
import statistics
import time
import zlib
from collections.abc import Callable
from random import Random

from pointsman.contracts.base import encode
from pointsman.contracts.flow import FlowFrame, PoolFlow, ServerFlow, bucket_of, decode_flow, encode_flow
from pointsman.contracts.frames import Sample, decode_frame, encode_frame
from pointsman.contracts.lifecycle import Status
from pointsman.contracts.record import Attempt, CurrentAttempt, Lease, TaskHead, TaskNeeds
from pointsman.contracts.server import HealthState, Heartbeat, ServerConfig, ServerHealth
from pointsman.contracts.subjects import key
from pointsman.services.balancer.entry import Entry, Shapes
from pointsman.services.balancer.flow import Flow
from pointsman.services.runtime.follow import Followed
from pointsman.services.statistics.board import Board
from pointsman.services.statistics.framing import Framer

NOW = 1_795_000_000_000
RATE_S = 0.2


def cpu_us(work: Callable[[], object], times: int) -> float:
    """The median."""
    took = []
    for _ in range(times):
        start = time.thread_time()
        work()
        took.append(time.thread_time() - start)
    return statistics.median(took) * 1e6


def count_us(tasks: int) -> float:
    """Per task: submitted, its attempt begins, it ends; and now and then a retry between."""
    flow, shapes, rng = Flow(), Shapes(), Random(7)
    scenes = []
    for number in range(tasks):
        head = TaskHead(
            id=f"task_{number:032x}", owner="ann", spec=TaskNeeds(type="resize", deadline=NOW), created_at=NOW
        )
        server_id = f"server-{rng.randrange(200):04}"
        current = CurrentAttempt(
            number=1, server_id=server_id, executor="x", started_at=NOW + 20, start_by=NOW, deadline=NOW, epoch=1
        )
        attempt = Attempt(
            number=1,
            server_id=server_id,
            started_at=NOW + 20,
            finished_at=NOW + 20 + rng.randrange(300),
            outcome="succeeded",
        )
        ended = TaskHead(
            id=head.id, owner="ann", spec=head.spec, created_at=NOW, status=Status.COMPLETED, attempts=(attempt,)
        )
        scenes.append((Entry(head, shapes.of(head), 1), Lease(attempt=1, current=current), ended))
    start = time.thread_time()
    for entry, lease, ended in scenes:
        flow.submitted(entry, NOW)
        flow.leased(entry, None, lease)
        entry.lease = lease
        flow.ended(ended, entry, NOW)
    return (time.thread_time() - start) / tasks * 1e6


def told(servers: int, rng: Random, at: int) -> FlowFrame:
    """Two thousand tasks a second over all servers."""
    each = max(1, round(2_000 * RATE_S / servers))
    rows = []
    for number in range(servers):
        runs: dict[int, int] = {}
        for _ in range(each):
            bucket = bucket_of(rng.randrange(20, 200))
            runs[bucket] = runs.get(bucket, 0) + 1
        failed = int(rng.random() < 0.05)
        rows.append(
            ServerFlow(
                id=f"server-{number:04}",
                active=rng.randrange(32),
                limit=32,
                serves=True,
                estimate=rng.randrange(20, 200),
                started=each,
                done=each - failed,
                failed=failed,
                runs=runs,
            )
        )
    sample = tuple(
        Sample(at=at, task_id=f"task_{rng.getrandbits(128):032x}", kind="completed", type="resize", attempt=1,
               server_id=f"server-{rng.randrange(servers):04}", ms=80, waited_ms=3, status="COMPLETED")
        for _ in range(20)
    )  # fmt: skip
    pool = PoolFlow(
        name="default", algorithm="response-time", servers=servers, eligible=servers, pending=1_200, running=2_000,
        slots=servers * 32, starts_per_s=2_000.0,
    )  # fmt: skip
    return FlowFrame(
        epoch=1, leader="host-1", at=at, span_ms=200, whole=True, submitted=400, completed=390, failed=4,
        waits={bucket_of(ms): 1 for ms in range(1, 400, 9)}, runs={bucket_of(ms): 2 for ms in range(20, 200, 3)},
        pending=1_200, delayed=300, running=2_000, slots=servers * 32, oldest_due=at - 680, executors=2, pools=(pool,),
        servers=tuple(rows), sample=sample, happened=1_200,
    )  # fmt: skip


def a_board(servers: int) -> Board:
    board = Board()
    for number in range(servers):
        name = f"server-{number:04}"
        config = ServerConfig(
            id=name,
            name=name,
            predict="http://x",
            health="http://x",
            registered_at=1,
            max_concurrent=32,
            version="1.4.2",
        )
        health = ServerHealth(state=HealthState.HEALTHY, since=NOW, registered_at=1, last_check=NOW)
        for sequence, (kind, record) in enumerate((("config", config), ("health", health))):
            board.fold_record(Followed(key("servers", f"{kind}.{name}"), sequence + 1, encode(record), deleted=False))
    return board


def measure(servers: int, rounds: int) -> str:
    rng, board = Random(7), a_board(servers)
    framer = Framer(board)
    folds, frames, sizes, fulls, keys, decodes, packed = [], [], [], [], [], [], 0
    whole = b""
    flow_size = 0
    for turn in range(rounds):
        now, now_s = NOW + turn * 200, turn * RATE_S
        flow = told(servers, rng, now)
        data = encode_flow(flow)
        flow_size = len(data)
        for number in range(servers):
            board.fold_beat(Heartbeat(server_id=f"server-{number:04}", at=now, status="healthy"))
        folds.append(cpu_us(lambda data=data, now_s=now_s: board.fold_flow(decode_flow(data), now_s), 1))
        framer.heard(flow)
        frame = b""

        def compose(now: int = now, now_s: float = now_s) -> None:
            nonlocal frame
            frame = encode_frame(framer.changed(1, now, now_s))

        frames.append(cpu_us(compose, 1))
        sizes.append(len(frame))
        decodes.append(cpu_us(lambda frame=frame: decode_frame(frame), 5))
        if turn % 5 == 0:

            def keep(now: int = now, now_s: float = now_s) -> None:
                nonlocal whole, packed
                whole = encode_frame(framer.key(1, now, now_s, is_watched=True))
                packed = len(zlib.compress(whole, 3))

            keys.append(cpu_us(keep, 1))
            fulls.append(cpu_us(lambda whole=whole: decode_frame(whole), 5))
    median = statistics.median
    return (
        f"{servers:>8} {flow_size:>10,} {median(folds):>9,.0f} {median(sizes):>10,.0f} {median(frames):>9,.0f} "
        f"{median(decodes):>10,.0f} {len(whole):>11,} {packed:>9,} {median(keys):>9,.0f} {median(fulls):>9,.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    print(f"counting one task in the leader: {min(count_us(20_000) for _ in range(5)):.2f} us")
    print(
        f"{'servers':>8} {'flow B':>10} {'fold us':>9} {'frame B':>10} {'frame us':>9} {'decode us':>10} "
        f"{'whole B':>11} {'zlib B':>9} {'keep us':>9} {'decode us':>9}"
    )
    for servers in (20, 200, 1_000):
        print(measure(servers, args.rounds))


if __name__ == "__main__":
    main()
