"""`python -m tests.simulation`: the whole table, in some minutes. Exits with 1 when a target is missed."""

import sys
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.report import HEADER, rows


def main() -> int:
    missed = 0
    print(HEADER)
    with ProcessPoolExecutor() as pool:
        for row in rows(pool):
            print(row, flush=True)
            missed += row.is_met is False
    print(f"\n{missed} missed" if missed else "\nall met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
