"""`python -m tests.protocol [states per case]`: the whole protocol, then each safeguard removed, then each window opened."""

import sys
from time import monotonic

from tests.protocol.scenarios import OPENED, REMOVED, WHOLE, Scenario

STATES = 250_000


def told(scenario: Scenario, states_max: int) -> int:
    began = monotonic()
    verdict = scenario.run(states_max)
    bound = "all of them" if verdict.is_complete else "stopped there"
    outcome = verdict.broken or f"holds ({bound})"
    print(f"{scenario.name or scenario.off:<34} {verdict.states:>9,} states {monotonic() - began:5.0f} s  {outcome}")
    for number, step in enumerate(verdict.trace, 1):
        print(f"    {number:>2}. {step}")
    sys.stdout.flush()
    return verdict.states


def main() -> None:
    states_max = int(sys.argv[1]) if len(sys.argv) > 1 else STATES
    print("The protocol as it should be")
    states = sum(told(scenario, states_max) for scenario in WHOLE)
    print("\nOne safeguard removed")
    states += sum(told(scenario, states_max) for scenario in REMOVED)
    print("\nA documented window opened")
    states += sum(told(scenario, states_max) for scenario in OPENED)
    print(f"\n{states:,} states in all")


if __name__ == "__main__":
    main()
