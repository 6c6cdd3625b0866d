"""The six screens by name; each is imported when it is first mounted, so that the first is on the screen sooner."""

import importlib
from collections.abc import Callable
from functools import partial

from pointsman.tui.screens.base import CockpitScreen
from pointsman.tui.topbar import SCREENS


def _made(name: str) -> CockpitScreen:
    module = importlib.import_module(f"pointsman.tui.screens.{name}")
    screen: CockpitScreen = getattr(module, f"{name.capitalize()}Screen")()
    return screen


MAKERS: dict[str, Callable[[], CockpitScreen]] = {name: partial(_made, name) for name in SCREENS}
