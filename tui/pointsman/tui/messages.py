"""What widgets tell their screen, in the past tense."""

from textual.message import Message


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
