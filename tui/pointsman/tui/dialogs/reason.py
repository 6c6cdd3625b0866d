"""Why an act is done: one line that whoever reads Events later is told. Typing in it never confirms anything."""

from textual.widgets import Input

TYPED_LENGTH_MAX = 1_000


class ReasonInput(Input):
    """What a terminal would obey, or nobody sees, is a space as soon as it is pasted."""

    DEFAULT_CSS = """
    ReasonInput { border: none; height: 1; padding: 0 1; background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__(
            placeholder="why? kept with it; may stay empty", max_length=TYPED_LENGTH_MAX, id="reason", compact=True
        )

    def validate_value(self, value: str) -> str:
        return "".join(letter if letter.isprintable() else " " for letter in value)
