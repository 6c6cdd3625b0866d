"""Copying from the terminal: OSC 52, through tmux too; what terminals would cut goes into a file."""

import base64
import os
import tempfile
from pathlib import Path

from textual.app import App

OSC52_MAX = 74_994
"""The longest sequence that common terminals take."""


def sequence(text: str, *, in_tmux: bool) -> str | None:
    """What makes the terminal copy the text; None when it is too long."""
    encoded = base64.b64encode(text.encode()).decode()
    copied = f"\x1b]52;c;{encoded}\x07"
    if len(copied) > OSC52_MAX:
        return None
    return f"\x1bPtmux;{copied.replace(chr(27), chr(27) * 2)}\x1b\\" if in_tmux else copied


def copy(app: App[object], text: str) -> None:
    """Tells what became of it."""
    written = sequence(text, in_tmux="TMUX" in os.environ)
    driver = app._driver
    if written is None or driver is None:
        app.notify(f"too long for the terminal: saved to {_saved(text)}", title="Copied")
        return
    driver.write(written)
    shown = text if len(text) <= 60 else f"{len(text):,} characters"
    app.notify(shown, title="Copied", timeout=3)


def _saved(text: str) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="pointsman-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return Path(name)
