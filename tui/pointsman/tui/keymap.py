"""Which keys there are to be given anew, and why a key map will not do. It looks into every screen, so only for who has one."""

import importlib
import pkgutil
import unicodedata
from collections.abc import Iterator, Mapping

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, _character_to_key

import pointsman.tui

MODIFIERS = ("ctrl", "shift", "alt", "super", "hyper", "meta")
NAMED = {str(key.value) for key in Keys} | set(KEY_NAME_REPLACEMENTS.values())


def refusal(keys: Mapping[str, str]) -> str | None:
    """What is wrong with the first that is."""
    places = [_bindings_of(node) for node in _nodes()]
    there = {name for bindings in places for name in bindings}
    for name, given in keys.items():
        if name not in there:
            return f"there is no {name!r}; {_what_there_is(name, there)}"
        for key in given.split(","):
            if not _is_key(key.strip()):
                return f"{name}: {key.strip()!r} is no key; keys are like o, O, f5, ctrl+o, question_mark, several with commas"
    return next((said for bindings in places if (said := _clash(bindings, keys))), None)


def _what_there_is(name: str, there: set[str]) -> str:
    group = name.partition(".")[0]
    like = sorted(one for one in there if one.startswith(f"{group}."))
    if like:
        return f"there are: {', '.join(like)}"
    return f"ids begin with {', '.join(sorted({one.partition('.')[0] for one in there}))}, and `?` shows them"


def _is_key(text: str) -> bool:
    *modifiers, key = text.split("+") if text != "+" else [text]
    if not key or any(one not in MODIFIERS for one in modifiers):
        return False
    return len(key) == 1 or key in NAMED or _is_character(key)


def _is_character(name: str) -> bool:
    try:
        unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return False
    return True


def _clash(bindings: Mapping[str, str], keys: Mapping[str, str]) -> str | None:
    """Two that would have the same key on the same screen: the library would forget one of them."""
    by_key: dict[str, str] = {}
    for name, own in bindings.items():
        for key in {_long(one.strip()) for one in keys.get(name, own).split(",")}:
            other = by_key.setdefault(key, name)
            if other != name and (name in keys or other in keys):
                given, free = (name, other) if name in keys else (other, name)
                return f"{given}: {free} has the key {key!r}; give that another one too"
    return None


def _long(key: str) -> str:
    """As the library writes it: question_mark for ?"""
    return _character_to_key(key) if len(key) == 1 else key


def _bindings_of(node: type[DOMNode]) -> dict[str, str]:
    """Its keys by id, those that it inherits too."""
    named = (
        one for kind in reversed(node.__mro__) for one in vars(kind).get("BINDINGS", ()) if isinstance(one, Binding)
    )
    return {binding.id: binding.key for binding in named if binding.id}


def _nodes() -> Iterator[type[DOMNode]]:
    for module in pkgutil.walk_packages(pointsman.tui.__path__, "pointsman.tui."):
        importlib.import_module(module.name)
    yield from (kind for kind in _below(DOMNode) if kind.__module__.startswith("pointsman.tui."))


def _below(node: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for kind in node.__subclasses__():
        yield kind
        yield from _below(kind)
