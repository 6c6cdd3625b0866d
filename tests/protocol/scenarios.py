"""Which bounds show what: the whole protocol, and for each safeguard and each window the smallest case that needs it."""

from dataclasses import dataclass, replace

from tests.protocol.checker import Verdict, check
from tests.protocol.rules import SAFEGUARDS, Bounds, Rules, Windows

CALM = Bounds(crashes=0, losses=0, cancels=0)
ALONE = replace(CALM, tasks=1, epochs=1)
RUNS = (
    "leader 0 gives task 0 to server 0",
    "write of attempt 0 lands",
    "leader 0 sees attempt 0 written",
    "attempt 0 starts",
)
RENEWED = ("cancel reads task 0", "cancel of task 0 is written", "task 0 is retried by hand")


@dataclass(frozen=True, slots=True)
class Scenario:
    """`off` is the safeguard switched off or the window opened; the search begins after the steps `start`."""

    name: str
    bounds: Bounds
    off: str = ""
    endings: bool = False
    start: tuple[str, ...] = ()

    def run(self, states_max: int) -> Verdict:
        rules, windows = Rules(), Windows()
        if self.off in SAFEGUARDS:
            rules = replace(rules, **{self.off: False})
        elif self.off:
            windows = replace(windows, **{self.off: True})
        return check(self.bounds, rules, windows, states_max=states_max, endings=self.endings, start=self.start)


WHOLE = (
    Scenario("two leaders, two tasks, no faults", CALM, endings=True),
    Scenario("cancel", replace(CALM, cancels=1, epochs=1), endings=True),
    Scenario("kill", replace(CALM, crashes=1), endings=True),
    Scenario("broker loss", replace(CALM, losses=1), endings=True),
    Scenario("two servers", replace(CALM, servers=2), endings=True),
    Scenario("three attempts of one task", replace(ALONE, attempts=3, epochs=2), endings=True),
    Scenario("two generations", replace(CALM, tasks=1, cancels=1, generations=2), endings=True),
    Scenario("all faults", Bounds(generations=2, attempts=3, epochs=3), endings=False),
)
REMOVED = (
    Scenario("", replace(ALONE, attempts=1, cancels=1), "tasks_compared"),
    Scenario("", replace(ALONE, cancels=1, generations=2), "leases_compared", endings=True),
    Scenario("", CALM, "written_first"),
    Scenario("", CALM, "leads_after_write"),
    Scenario("", CALM, "knows_before_pick"),
    Scenario("", replace(CALM, epochs=1), "start_by"),
    Scenario("", replace(CALM, epochs=1), "lingers"),
    Scenario("", replace(CALM, losses=1), "writes_again", start=RUNS),
    Scenario("", ALONE, "looks_again", start=RUNS),
    Scenario("", replace(ALONE, cancels=1, generations=2), "generation_in_token", start=RUNS),
    Scenario("", replace(CALM, epochs=1, cancels=1), "unknown_attempt_lingers"),
    Scenario("", CALM, "folds_lingering", start=RUNS),
    Scenario(
        "", replace(CALM, tasks=1, crashes=1, cancels=1, generations=2), "renewed_keeps_lingering", start=RUNS + RENEWED
    ),
    Scenario(
        "",
        replace(CALM, tasks=1, cancels=1, generations=2),
        "later_lease_kept",
        start=(*RENEWED, "leader 0 reads record of task 0", *RUNS),
    ),
    Scenario("", replace(CALM, epochs=1), "release_waits"),
    Scenario("", replace(ALONE, losses=1), "older_lease_overwritten", endings=True),
    Scenario("", replace(ALONE, attempts=1, cancels=1), "withdrawal_frees", endings=True),
)
OPENED = (
    Scenario("", replace(CALM, epochs=1), "before_socket"),
    Scenario("", ALONE, "before_commit", start=RUNS),
    Scenario("", replace(CALM, losses=1), "loss_and_new_leader", start=RUNS),
)
