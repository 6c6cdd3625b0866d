"""How long the list of servers takes through the gateway: `python -m tests.benchmarks.servers [--servers 1000]`."""

import argparse
import asyncio
import time

from tests.support.rest import Rest
from tests.support.system_up import system_up

ASKED, AT_ONCE, TARGET_MS = 200, 16, 50.0


async def registered(admin: Rest, count: int) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        body = {"id": f"s{number:04}", "url": "http://127.0.0.1:9000", "pool": f"p{number % 10}", "labels": {"n": "1"}}
        async with turns:
            await admin.call("POST", "/api/servers", body, expect=(201,))

    await asyncio.gather(*(one(number) for number in range(count)))


async def timed(admin: Rest, path: str) -> list[float]:
    took = []
    for _ in range(ASKED):
        began = time.perf_counter()
        await admin.call("GET", path, expect=(200,))
        took.append((time.perf_counter() - began) * 1_000)
    return sorted(took)


async def walked(admin: Rest) -> list[str]:
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await admin.call("GET", f"/api/servers?limit=200{cursor}", expect=(200,))).body
        seen += [server["id"] for server in page["servers"]]
        if page["cursor"] is None:
            return seen
        cursor = f"&cursor={page['cursor']}"


async def run(count: int) -> bool:
    async with system_up() as system, system.client("ann", "admin") as admin:
        await registered(admin, count)
        seen = await walked(admin)
        assert seen == sorted(seen)
        assert len(seen) == count
        slow = False
        for path in ("/api/servers", "/api/servers?limit=20", "/api/servers?pool=p3", "/api/servers?status=offline"):
            took = await timed(admin, path)
            p50, p95 = took[len(took) // 2], took[int(len(took) * 0.95)]
            slow = slow or p95 > TARGET_MS
            print(f"{path}: p50 {p50:.1f} ms, p95 {p95:.1f} ms of {ASKED}, target {TARGET_MS:g} ms")
        return not slow


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=1_000)
    raise SystemExit(0 if asyncio.run(run(parser.parse_args().servers)) else 1)
