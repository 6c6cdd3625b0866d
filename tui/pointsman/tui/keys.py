"""The operator's own settings of the cockpit: `cockpit.toml` beside the contexts.

theme = "pointsman-cvd"
[keys]
"servers.sort" = "o"
"""

from pathlib import Path

import msgspec

from pointsman.tui.themes import BY_NAME

FILE = "cockpit.toml"


class Taste(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`keys` gives keys (several with commas) by the ids that `?` shows."""

    theme: str = "pointsman-dark"
    keys: dict[str, str] = {}


class TasteError(ValueError):
    """Names the file and the field."""


def taste_of(folder: Path) -> Taste:
    """The defaults when there is no such file. Raises TasteError."""
    path = folder / FILE
    try:
        taste = msgspec.toml.decode(path.read_bytes(), type=Taste)
    except FileNotFoundError:
        return Taste()
    except (OSError, msgspec.MsgspecError) as error:
        raise TasteError(f"{path}: {error}") from None
    if taste.theme not in BY_NAME:
        raise TasteError(f"{path}: theme: {taste.theme!r} is none of {', '.join(BY_NAME)}")
    return taste
