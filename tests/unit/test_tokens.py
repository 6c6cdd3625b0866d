"""Attempt tokens: only ours, only for a time, only for what they say."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.errors import PointsmanError
from pointsman.services.runtime.tokens import AttemptClaims, AttemptTokens

TOKENS = AttemptTokens("a secret of the tests, long enough for HS256")
CLAIMS = AttemptClaims(task_id="task_" + "0" * 32, generation=2, number=3, server_id="gpu-1.a_b", expires_at=1_000)


def refused(token: str, now: int = 0, tokens: AttemptTokens = TOKENS) -> int:
    with pytest.raises(PointsmanError) as refusal:
        tokens.verify(token, now)
    return refusal.value.status


def test_a_token_says_what_it_was_made_for() -> None:
    assert TOKENS.verify(TOKENS.mint(CLAIMS), 1_000) == CLAIMS


def test_a_token_ends() -> None:
    assert refused(TOKENS.mint(CLAIMS), 1_001) == 401


def test_a_token_of_another_key_is_not_ours() -> None:
    assert refused(AttemptTokens("another secret, also long enough!").mint(CLAIMS)) == 401


def test_any_one_changed_character_spoils_it() -> None:
    token = TOKENS.mint(CLAIMS)
    for position, char in enumerate(token):
        for other in ("A", "B", "_", "=", ".", "", "é"):
            if other != char:
                assert refused(token[:position] + other + token[position + 1 :]) == 401


@given(st.one_of(st.text(), st.text(alphabet=string.ascii_letters + string.digits + "-_.=", max_size=80)))
def test_no_text_that_somebody_made_up_is_a_token(text: str) -> None:
    for given_text in (text, "pat_" + text, "pat_" + text + "." + text):
        assert refused(given_text) == 401


def test_it_can_stand_in_a_url_and_a_header() -> None:
    allowed = set(string.ascii_letters + string.digits + "-_.")
    assert set(TOKENS.mint(CLAIMS)) <= allowed
