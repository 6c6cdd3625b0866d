"""`python -m tests.simulation`: the whole table, in some minutes."""

from concurrent.futures import ProcessPoolExecutor

from tests.simulation.report import tables


def main() -> None:
    with ProcessPoolExecutor() as pool:
        for line in tables(pool):
            print(line, flush=True)


if __name__ == "__main__":
    main()
