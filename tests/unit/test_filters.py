"""The filter language: what is understood, and how a mistake is told."""

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.filters import FilterError, Op, Term, canonical, of_parameters, parse
from pointsman.contracts.search import SearchTasks


def one(text: str) -> Term:
    (term,) = parse(text)
    return term


def test_the_documented_example_is_understood_term_by_term() -> None:
    terms = parse(
        "type:resize-* state:failed server:srv-0017 try>1 wait>5s id:3f2a error:Timeout since:15m payload.user:42"
    )
    assert terms == (
        Term(key="type", values=("resize-*",)),
        Term(key="status", values=("FAILED",)),
        Term(key="server", values=("srv-0017",)),
        Term(key="try", op=Op.ABOVE, values=("1",), numbers=(1,)),
        Term(key="wait", op=Op.ABOVE, values=("5s",), numbers=(5_000,)),
        Term(key="id", values=("3f2a",)),
        Term(key="error", values=("Timeout",)),
        Term(key="since", values=("15m",), numbers=(900_000,)),
        Term(key="payload", path="user", values=("42",)),
    )


def test_quotes_keep_spaces_commas_and_colons() -> None:
    assert one('error:"connection refused, twice: \\"no\\""').values == ('connection refused, twice: "no"',)
    assert one('payload."a b".c:1').path == "a b.c"
    assert one('"http://host"') == Term(key="text", values=("http://host",))


@pytest.mark.parametrize("value", ["team=", "team==", "team=a=b"])
def test_the_value_of_a_label_may_be_anything(value: str) -> None:
    assert one(f"label:{value}").values == (value,)


def test_alternatives_are_separated_by_commas() -> None:
    assert one("state:failed,timeout").values == ("FAILED", "TIMEOUT")
    assert one('type:a,"b,c"').values == ("a", "b,c")


@pytest.mark.parametrize("text", ["-type:a", "!type:a", "type!=a"])
def test_a_term_is_negated_in_three_ways(text: str) -> None:
    assert one(text) == Term(key="type", values=("a",), negated=True)


def test_a_double_negation_is_none() -> None:
    assert not one("-type!=a").negated


@pytest.mark.parametrize(
    ("text", "op"),
    [("try>1", Op.ABOVE), ("try>=1", Op.FROM), ("try<1", Op.BELOW), ("try<=1", Op.UP_TO), ("try=1", Op.IS)],
)
def test_numbers_are_compared(text: str, op: Op) -> None:
    assert one(text).op is op


@pytest.mark.parametrize(("text", "ms"), [("250ms", 250), ("1.5h", 5_400_000), ("7d", 604_800_000), ("2m", 120_000)])
def test_durations_have_units(text: str, ms: int) -> None:
    assert one(f"ran>{text}").numbers == (ms,)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("1767225600000", 1767225600000), ("2026-01-01", 1767225600000), ("2026-01-01T01:00:00+01:00", 1767225600000)],
)
def test_moments_are_ms_or_dates_in_utc(text: str, ms: int) -> None:
    assert of_parameters({"from": text}) == (Term(key="from", values=(text,), numbers=(ms,)),)


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("type:a colour:red", 7, "there are id, type, status"),
        ("state:broken", 0, "PENDING, PROCESSING"),
        ('error:"open', 6, "not closed"),
        ("type:", 5, "missing"),
        ("type:a,,b", 5, "missing"),
        ("type>a", 0, "cannot be compared"),
        ("wait>5", 0, "250ms"),
        ("try>many", 0, "not a number"),
        ("since:yesterday", 0, "duration"),
        ("from:2026-13-01", 0, "date"),
        ("payload:1", 0, "payload.NAME:VALUE"),
        ("type.x:1", 0, "has no parts"),
        ("label:team", 0, "label:NAME=VALUE"),
        ("label:=blue", 0, "label:NAME=VALUE"),
        ("a\x00b", 1, "NUL"),
        ("a\ud800", 1, "NUL"),
        ("type:" + "x" * 257, 0, "longer than 256"),
        ("a " * 33, 64, "more than 32"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_exists(text: str, position: int, says: str) -> None:
    with pytest.raises(FilterError, match=says) as refusal:
        parse(text)
    assert refusal.value.status == 400
    assert refusal.value.position == position
    assert refusal.value.errors[0].field == "q"


def test_parameters_and_the_language_mean_the_same() -> None:
    named = of_parameters({"status": "FAILED,TIMEOUT", "serverId": "gpu-1", "labels.team": "a,b", "q": "try>1"})
    assert canonical(named) == canonical(parse('try>1 labels.team:"a,b" server:gpu-1 state:failed,timeout'))


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(FilterError, match="there are id") as refusal:
        of_parameters({"colour": "red"})
    assert refusal.value.errors[0].field == "colour"


def test_a_value_that_is_too_long_is_told_by_its_name() -> None:
    asked = msgspec.convert({"filters": {"labels.team": "x" * 2_001}}, SearchTasks)
    with pytest.raises(FilterError, match="longer than 256") as refusal:
        of_parameters(asked.filters)
    assert refusal.value.errors[0].field == "labels.team"


@pytest.mark.parametrize("name", ["labels.a\x00", "payload.\x00", "payload.a\ud800"])
def test_a_name_that_nothing_can_have_is_refused(name: str) -> None:
    with pytest.raises(FilterError, match="NUL") as refusal:
        of_parameters({name: "x"})
    assert refusal.value.errors[0].field == name


@given(st.text(alphabet=string.printable + 'äß"\\:,<>!-\x00\ud800', max_size=60))
def test_any_text_is_understood_or_refused_and_nothing_else(text: str) -> None:
    try:
        terms = parse(text)
    except PointsmanError as error:
        assert error.status == 400
    else:
        assert all(len(value) <= 256 and "\x00" not in value for term in terms for value in term.values)
