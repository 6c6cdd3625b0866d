"""W3C trace context: what is taken from a submitter, and that it travels to the services."""

import pytest

from pointsman.client.bus import Message
from pointsman.client.call import actor_of, identity
from pointsman.contracts.actor import Actor
from pointsman.contracts.trace import accepted, begun, continued

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (PARENT, PARENT),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-ff", PARENT),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", PARENT),
        (f"cc-{TRACE}-{SPAN}-01", PARENT),
    ],
)
def test_a_valid_trace_is_taken_as_version_0(header: str, taken: str) -> None:
    assert accepted(header) == taken


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        PARENT.upper(),
        PARENT + " ",
        PARENT + "\n",
        PARENT + "-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"cc-{TRACE}-{SPAN}-01.x",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 300}",
        f"cc-{TRACE}-{SPAN}-01-\u00e9",
        f"{PARENT},{PARENT}",
    ],
)
def test_anything_else_begins_a_new_trace(header: str) -> None:
    assert accepted(header) == ""


def test_a_call_continues_or_begins_a_trace_in_valid_form() -> None:
    for made in (continued(PARENT, 1), continued(accepted(f"cc-{TRACE}-{SPAN}-00-x"), 2**64 - 1), begun(TRACE, 7)):
        assert accepted(made) == made
        assert TRACE in made
        assert SPAN not in made


def test_a_trace_travels_with_the_caller_and_is_judged_again_where_it_arrives() -> None:
    assert actor_of(Message("", b"", identity(Actor(sub="ann", trace=PARENT)))).trace == PARENT
    assert actor_of(Message("", b"", identity(Actor(sub="ann", trace="forged\r\nx: y")))).trace == ""
    assert "traceparent" not in identity(Actor(sub="ann"))
