"""Tokens with roles: what is believed and what is not."""

import base64
import json
from dataclasses import dataclass

import jwt
import pytest

from pointsman.contracts.actor import Role
from pointsman.contracts.errors import PointsmanError
from pointsman.services.gateway.tokens import CACHE_MAX, LEEWAY_S, TokenVerifier
from pointsman.services.runtime.settings import Settings, SettingsError

SECRET = "kT9-wX2-pL7-qR4-vB8-nM3-zH6-jD1-fG5-cS0"
OTHER = "another-0123456789-abcdefghijklmnopqrstuv"
NOW_S = 1_800_000_000


@dataclass
class StillClock:
    now_s: float = NOW_S

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s


def verifier(clock: StillClock | None = None, **settings: str) -> TokenVerifier:
    return TokenVerifier(Settings(jwt_secret=SECRET, **settings), clock or StillClock())  # type: ignore[arg-type]


def token(key: str = SECRET, algorithm: str = "HS256", without: str = "", **claims: object) -> str:
    every = {"sub": "alice", "iat": NOW_S, "exp": NOW_S + 60, "roles": ["user"]} | claims
    every.pop(without, None)
    return jwt.encode(every, key, algorithm)


def unsigned() -> str:
    parts = ({"alg": "none", "typ": "JWT"}, {"sub": "alice", "iat": NOW_S, "exp": NOW_S + 60, "roles": ["admin"]})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


DEFECTS = {
    "no token": "",
    "no JWT": "abc",
    "unsigned": unsigned(),
    "other key": token(OTHER),
    "other algorithm": token(SECRET * 2, "HS512"),
    "pinned algorithm only": token(SECRET * 2, "HS384"),
    "no exp": token(without="exp"),
    "no iat": token(without="iat"),
    "no sub": token(without="sub"),
    "expired": token(exp=NOW_S - LEEWAY_S - 1),
    "issued in the future": token(iat=NOW_S + LEEWAY_S + 1),
    "not valid yet": token(nbf=NOW_S + LEEWAY_S + 1),
    "exp is no number": token(exp="tomorrow"),
    "exp is true": token(exp=True),
    "exp beyond all time": token(exp=10**400),
    "iat beyond all time": token(iat=-(10**400)),
    "nbf beyond all time": token(nbf=10**400),
    "exp is not finite": token(exp=float("nan")),
    "exp is infinite": token(exp=float("inf")),
    "sub is empty": token(sub=""),
    "sub would add a header": token(sub="alice\r\nPointsman-Roles: admin"),
    "sub is no string": token(sub=7),
    "roles is a string": token(roles="admin"),
    "roles holds numbers": token(roles=[1]),
    "too long": token(padding="x" * 5000),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defective_token_is_refused(defect: str) -> None:
    with pytest.raises(PointsmanError) as refusal:
        verifier().verify(DEFECTS[defect])
    assert refusal.value.status == 401


def test_a_changed_token_is_refused() -> None:
    good = token()
    for place in range(0, len(good), 3):
        changed = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]
        if changed.rstrip("ABCD") == good.rstrip("ABCD"):
            continue
        with pytest.raises(PointsmanError):
            verifier().verify(changed)


def test_a_good_token_says_who_it_is_and_unknown_roles_are_not_ours() -> None:
    identity = verifier().verify(token(roles=["viewer", "billing", "viewer", "admin"]))
    assert (identity.sub, identity.roles) == ("alice", (Role.VIEWER, Role.ADMIN))


def test_clocks_may_differ_by_the_leeway() -> None:
    assert verifier().verify(token(exp=NOW_S - LEEWAY_S)).sub == "alice"
    assert verifier().verify(token(iat=NOW_S + LEEWAY_S, nbf=NOW_S + LEEWAY_S)).sub == "alice"


def test_a_remembered_token_expires_too() -> None:
    clock = StillClock()
    checked = verifier(clock)
    good = token()
    assert checked.verify(good).sub == checked.verify(good).sub == "alice"
    clock.now_s = NOW_S + 60 + LEEWAY_S + 1
    for _ in range(2):
        with pytest.raises(PointsmanError):
            checked.verify(good)


def test_what_is_remembered_is_bounded() -> None:
    checked = verifier()
    for number in range(CACHE_MAX + 10):
        checked.verify(token(sub=f"user-{number}"))
    assert len(checked._known) == CACHE_MAX


def test_issuer_and_audience_are_checked_when_configured() -> None:
    checked = verifier(jwt_issuer="https://id.example", jwt_audience="pointsman")
    assert checked.verify(token(iss="https://id.example", aud="pointsman")).sub == "alice"
    for wrong in ({}, {"iss": "https://id.example"}, {"aud": "pointsman"}, {"iss": "x", "aud": "pointsman"}):
        with pytest.raises(PointsmanError):
            checked.verify(token(**wrong))


def test_no_start_without_a_fit_secret() -> None:
    with pytest.raises(SettingsError):
        TokenVerifier(Settings(), StillClock())
    with pytest.raises(SettingsError):
        Settings(jwt_secret=SECRET[:31])
