"""What a terminal can show, as far as it says so."""

import os
from collections.abc import Mapping
from typing import TextIO

from pointsman.cli.finding_of import Finding

WIDTH_MIN, HEIGHT_MIN = 60, 16


def findings(env: Mapping[str, str], stream: TextIO) -> list[Finding]:
    """Nothing of what is no terminal."""
    if not stream.isatty():
        return []
    size = os.get_terminal_size(stream.fileno())
    fits = size.columns >= WIDTH_MIN and size.lines >= HEIGHT_MIN
    encoding = (stream.encoding or "").lower().replace("-", "")
    return [
        Finding(fits, f"terminal of {size.columns}x{size.lines} (the cockpit wants {WIDTH_MIN}x{HEIGHT_MIN})"),
        Finding(True, f"{colors(env)}, {'Unicode' if encoding == 'utf8' else 'no Unicode: --ascii'}"),
        *([Finding(False, "COLUMNS or LINES is set and hides the true size: unset them")] if _is_fixed(env) else []),
    ]


def colors(env: Mapping[str, str]) -> str:
    term = env.get("TERM", "")
    if env.get("NO_COLOR"):
        return "no colours (NO_COLOR)"
    if term in ("", "dumb"):
        return "no colours (TERM is dumb)"
    if env.get("COLORTERM") in ("truecolor", "24bit"):
        return "16 million colours"
    return "256 colours" if "256" in term else "16 colours"


def _is_fixed(env: Mapping[str, str]) -> bool:
    return "COLUMNS" in env or "LINES" in env
