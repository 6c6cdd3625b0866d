"""What the feed tells the app, and what widgets tell their screen; facts, in the past tense."""

from dataclasses import dataclass

from textual.message import Message

from pointsman.contracts.frames import Frame


@dataclass(frozen=True, slots=True)
class Connected:
    """To the bus at `where`."""

    where: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection, or one more try to make it: the next is `next_s` from now."""

    reason: str
    tries: int = 0
    next_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """The bus does not let us in, or not at a subject."""

    what: str


@dataclass(frozen=True, slots=True)
class FrameCame:
    frame: Frame
    size: int


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The bus answered in `ms` while frames do not come."""

    ms: float | None


Told = Connected | Lost | Refused | FrameCame | RoundTrip


class RowHighlighted(Message):
    """The cursor of a table is on another row; None when there is no row."""

    def __init__(self, table_id: str | None, key: str | None) -> None:
        super().__init__()
        self.table_id = table_id
        self.key = key


class RowChosen(Message):
    """Enter, or a click on the row under the cursor."""

    def __init__(self, table_id: str | None, key: str) -> None:
        super().__init__()
        self.table_id = table_id
        self.key = key


class MarksChanged(Message):
    def __init__(self, table_id: str | None, marks: frozenset[str]) -> None:
        super().__init__()
        self.table_id = table_id
        self.marks = marks


class CellChosen(Message):
    """A cell of a heat strip was clicked or chosen."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
