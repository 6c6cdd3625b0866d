"""Example backend on pointsman_kit.py: registers itself, beats, reports progress, and can be cancelled at any moment."""

import argparse
import signal
import threading
from pathlib import Path

from analysis import analyse, source_of
from pointsman_kit import Beats, Failed, Kit, Task, register, server

STEPS = 10


def work(task: Task, step_s: float) -> object:
    try:
        source = source_of(task.payload)
    except ValueError as error:
        raise Failed(str(error), code="bad-payload", final=True) from None
    for step in range(STEPS):
        task.wait(step_s)
        task.progress(100 * step / STEPS)
    return analyse(source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9005)
    parser.add_argument("--id", default="kit", help="the id to register as")
    parser.add_argument("--limit", type=int, default=2, help="tasks at a time")
    parser.add_argument("--step-ms", type=int, default=100, help="how slow it is: ten steps a task")
    parser.add_argument("--pointsman", default="http://127.0.0.1:8080", help="where Pointsman is")
    parser.add_argument("--token-file", type=Path, required=True, help="file with an admin's token")
    parser.add_argument("--keep", type=Path, default=Path("kit-credentials.json"), help="where to keep the credentials")
    options = parser.parse_args()

    origin = f"http://127.0.0.1:{options.port}"
    asked = {
        "id": options.id,
        "endpoints": {"predict": f"{origin}/predict", "health": f"{origin}/health"},
        "maxConcurrent": options.limit,
        "capabilities": ["python-analysis"],
        "cancel": True,
    }
    credentials = register(options.pointsman, options.token_file.read_text().strip(), asked, options.keep)
    kit = Kit(
        lambda task: work(task, options.step_ms / 1000),
        limit=options.limit,
        later=True,
        secrets=[credentials.signing_secret],
    )
    beats = Beats(kit, options.pointsman, credentials)
    running = server(kit, "127.0.0.1", options.port)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    beats.start()
    print(f"listening {origin}", flush=True)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    stopping.wait()
    kit.stop()
    beats.stop()
    running.shutdown()


if __name__ == "__main__":
    main()
