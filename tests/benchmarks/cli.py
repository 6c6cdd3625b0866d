"""CPU time of commands on a running system: `python -m tests.benchmarks.cli DATA_DIR`. Importing click alone is the measure."""

import os
import resource
import statistics
import subprocess
import sys

RUNS = 10
SCRIPT = ("-c", "from pointsman.cli.main import main; main()")
COMPLETING = {"_POINTSMAN_COMPLETE": "bash_complete"}
CASES: tuple[tuple[str, tuple[str, ...], dict[str, str], int], ...] = (
    ("server ls", ("server", "ls"), {}, 250),
    ("--help", ("--help",), {}, 200),
    ("complete a command", (), COMPLETING | {"COMP_WORDS": "pointsman ser", "COMP_CWORD": "1"}, 150),
    ("complete a name", (), COMPLETING | {"COMP_WORDS": "pointsman server get ", "COMP_CWORD": "3"}, 150),
)


def cpu_ms(command: tuple[str, ...], env: dict[str, str]) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=os.environ | env, capture_output=True, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000


def measured(name: str, command: tuple[str, ...], env: dict[str, str], limit: int | None) -> None:
    times = [cpu_ms((sys.executable, *command), env) for _ in range(RUNS)]
    bound = "" if limit is None else f"  at most {limit}"
    print(
        f"{name:20}  median {statistics.median(times):4.0f}  least {min(times):4.0f}  most {max(times):4.0f} ms{bound}"
    )


def main() -> None:
    place = {"POINTSMAN_DATA_DIR": sys.argv[1]}
    measured("import click", ("-c", "import click"), {}, None)
    for name, arguments, env, limit in CASES:
        measured(name, (*SCRIPT, *arguments), place | env, limit)


if __name__ == "__main__":
    main()
