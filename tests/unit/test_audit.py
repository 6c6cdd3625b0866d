"""What is written of an act: who, what, on what, and never a secret."""

import msgspec
import pytest

from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import conflict, forbidden
from pointsman.services.runtime.audit import SHOWN_BYTES_MAX, TOO_DEEP, Notes, acts_with_power, entry_of

ANN = Actor(sub="ann", roles=(Role.ADMIN,), request_id="r-1")


def written(data: bytes = b"{}", notes: Notes | None = None, error: Exception | None = None) -> dict[str, object]:
    entry = entry_of("registry.register", ANN, data, notes or Notes(), error, 7)  # type: ignore[arg-type]
    return dict(msgspec.json.decode(msgspec.json.encode(entry)))


def test_an_act_names_caller_target_and_what_was_asked() -> None:
    entry = written(b'{"server":{"id":"gpu-1","maxConcurrent":4},"ifMatch":3}')
    assert (entry["who"], entry["roles"], entry["requestId"], entry["at"]) == ("ann", ["admin"], "r-1", 7)
    assert (entry["what"], entry["target"], entry["outcome"], entry["status"]) == (
        "registry.register",
        "gpu-1",
        "done",
        200,
    )
    assert entry["after"] == {"server": {"id": "gpu-1", "maxConcurrent": 4}, "ifMatch": 3}
    assert entry["before"] is None


@pytest.mark.parametrize(("error", "outcome"), [(forbidden("no"), "denied"), (conflict("busy"), "failed")])
def test_what_was_not_done_says_so(error: Exception, outcome: str) -> None:
    entry = written(error=error)
    assert (entry["outcome"], entry["detail"]) == (outcome, str(error))


def test_no_secret_gets_into_the_trail() -> None:
    asked = b'{"server":{"apiKey":"s3cret-1","url":"http://h/p?token=s3cret-2","labels":{"password":"s3cret-3"}}}'
    noted = Notes(
        before={"credential": "s3cret-4", "list": [{"signingSecret": "s3cret-5"}], "payload": {"a": "s3cret-6"}}
    )
    text = str(written(asked, noted))
    assert "s3cret" not in text
    assert "http://h/p?" in text


def test_what_a_limit_is_for_is_no_secret() -> None:
    limit = {"kind": "concurrencyKey", "key": "customer-7", "concurrencyKey": "customer-7", "apiKey": "s3cret"}
    shown = written(notes=Notes(before=limit))["before"]
    assert shown == {**limit, "apiKey": "********"}


def test_a_large_request_is_told_by_its_size() -> None:
    entry = written(msgspec.json.encode({"id": "x", "text": "y" * SHOWN_BYTES_MAX}))
    assert list(entry["after"]) == ["omitted"]  # type: ignore[call-overload]


def test_a_request_that_is_no_json_is_recorded_all_the_same() -> None:
    assert written(b"\xff{")["after"] is None
    assert written(b"[" * 100_000)["target"] == ""


@pytest.mark.parametrize("levels", [100, 1_000, 5_000, 9_000])
def test_a_request_that_is_nested_too_deeply_is_shown_to_its_first_levels(levels: int) -> None:
    entry = written(b'{"id":"gpu-1","x":%b%b}' % (b"[" * levels, b"]" * levels))
    assert (entry["target"], TOO_DEEP in str(entry["after"])) == ("gpu-1", True)


def test_only_those_with_power_act_on_tasks_of_others() -> None:
    assert acts_with_power(ANN)
    assert not acts_with_power(Actor(sub="bob", roles=(Role.USER, Role.VIEWER)))
