"""The protocol of leases and slots, explored state by state (`python -m tests.protocol` goes further and prints)."""

import pytest

from tests.protocol.rules import SAFEGUARDS, WINDOWS
from tests.protocol.scenarios import OPENED, REMOVED, WHOLE

STATES_WHOLE = 8_000
STATES_REMOVED = 130_000
"""Bounds that keep the tests within 40 s together; a violation is found long before."""


@pytest.mark.parametrize("scenario", WHOLE, ids=lambda scenario: scenario.name)
def test_the_whole_protocol_breaks_nothing(scenario):
    verdict = scenario.run(STATES_WHOLE)
    print(f"{scenario.name}: {verdict.states:,} states")
    assert verdict.is_complete or verdict.states >= STATES_WHOLE
    assert not verdict.broken, "\n".join((verdict.broken, *verdict.trace))


@pytest.mark.parametrize("scenario", [*REMOVED, *OPENED], ids=lambda scenario: scenario.off)
def test_what_is_removed_is_missed(scenario):
    verdict = scenario.run(STATES_REMOVED)
    print("\n".join((f"{scenario.off}: {verdict.states:,} states, {verdict.broken}", *verdict.trace)))
    assert verdict.broken
    assert verdict.trace


def test_every_safeguard_and_every_window_has_its_case():
    assert [scenario.off for scenario in REMOVED] == list(SAFEGUARDS)
    assert [scenario.off for scenario in OPENED] == list(WINDOWS)
