"""The operator's own settings of the cockpit: `cockpit.toml` beside the contexts.

theme = "pointsman-cvd"
[keys]
"servers.sort" = "o"
"""

from pathlib import Path

import msgspec

from pointsman.tui.themes import BY_NAME

FILE = "cockpit.toml"


class Taste(msgspec.Struct, frozen=True, kw_only=True):
    """`keys` gives keys (several with commas) by the ids that `?` shows."""

    theme: str = "pointsman-dark"
    keys: dict[str, str] = {}


class TasteError(ValueError):
    """Names the file and the field."""


def taste_of(folder: Path) -> Taste:
    """The defaults when there is no such file. Raises TasteError."""
    path = folder / FILE
    try:
        return _parsed(path.read_bytes())
    except FileNotFoundError:
        return Taste()
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError, TasteError) as error:
        raise TasteError(f"{path}: {error}") from None


def _parsed(text: bytes) -> Taste:
    given = msgspec.toml.decode(text)
    for name in given:
        if name not in Taste.__struct_fields__:
            raise TasteError(f"there is no {name!r}; there are: {', '.join(Taste.__struct_fields__)}")
    theme, keys = given.get("theme", Taste().theme), given.get("keys", {})
    if not isinstance(theme, str) or theme not in BY_NAME:
        raise TasteError(f"theme: {theme!r} is none of {', '.join(BY_NAME)}")
    if not isinstance(keys, dict):
        raise TasteError(f"keys: must be a table, [keys], not {keys!r}")
    for name, key in keys.items():
        if not isinstance(key, str):
            raise TasteError(f'keys: {name!r}: must be text, "o" or "o,p"; ids with a dot are written in quotes')
    if keys and (refused := _refusal(keys)):
        raise TasteError(f"keys: {refused}")
    return Taste(theme=theme, keys=keys)


def _refusal(keys: dict[str, str]) -> str | None:
    from pointsman.tui import keymap

    return keymap.refusal(keys)
