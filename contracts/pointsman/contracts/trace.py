"""W3C trace context: which `traceparent` is taken from a submitter, and how a call continues it. Pure."""

import re

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_LENGTH_MAX = 256
_VERSION = "00"
_NO_VERSION = "ff"
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
SAMPLED = 1


def accepted(header: str) -> str:
    """A submitter's `traceparent` as version 00, or empty when it is none: the task then begins a trace of its own."""
    found = _FORM.fullmatch(header) if len(header) <= _LENGTH_MAX else None
    if found is None:
        return ""
    version, trace, span, flags, more = found.groups()
    if version == _NO_VERSION or (version == _VERSION and more) or trace == _NO_TRACE or span == _NO_SPAN:
        return ""
    return f"{_VERSION}-{trace}-{span}-{int(flags, 16) & SAMPLED:02x}"


def continued(parent: str, span: int) -> str:
    """The `traceparent` of a call within the trace of `parent` (as `accepted` gives it); `span` is not 0."""
    return f"{parent[:36]}{span:016x}{parent[-3:]}"


def begun(trace: str, span: int) -> str:
    """The `traceparent` of a call in a trace of our own; `trace` is 32 hexadecimal digits."""
    return f"{_VERSION}-{trace}-{span:016x}-{SAMPLED:02x}"
