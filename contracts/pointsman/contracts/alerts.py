"""What needs an operator's attention: the list, and the mark that somebody knows. Times in ms since the epoch."""

from pointsman.contracts.base import Message, Record
from pointsman.contracts.subjects import hex_token

NOBODY = "_"


class ListedAlert(Message):
    """`kind` and `subject` name it, `detail` is for people, `screen` of the cockpit shows more."""

    severity: str
    kind: str
    subject: str
    since: int
    detail: str
    screen: str
    acknowledged_by: str | None
    note: str | None


class AlertList(Message):
    """The worst first, then by age."""

    alerts: tuple[ListedAlert, ...]
    as_of: int


class AlertMark(Record):
    """Of `alerts`: somebody knows. Gone with the alert's cause; `since` is that of the alert, which may outlive a restart."""

    kind: str
    subject: str
    by: str
    at: int
    since: int
    note: str = ""


def mark_key(kind: str, subject: str) -> str:
    """The key of the bucket; a subject may hold any character, or none."""
    return f"{kind}.{hex_token(subject) or NOBODY}"
