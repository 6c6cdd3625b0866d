"""What the cockpit may show: the system it was started on, and every context. Secrets are read at the connect, not before."""

import os
from collections.abc import Iterator

from pointsman.cli import contexts, place
from pointsman.cli.contexts import Context
from pointsman.cli.given import Given
from pointsman.tui.options import Address, System

NEEDS_NATS = "the cockpit needs NATS, and this context has no nats_url"


def of_place(given: Given, there: place.Place) -> System:
    """The one that it is started on. Raises ContextError."""
    return System(
        locate=lambda: _address(given),
        name=there.shown,
        color=there.color or "",
        protected=there.protected,
        read_only=place.reads_only(given, os.environ, there) is not None,
        refusal=NEEDS_NATS if there.is_rest else "",
    )


def before(given: Given) -> System | None:
    """For the selected context, the one that was selected before it. Raises ContextError."""
    book = contexts.read(contexts.path_of(os.environ))
    name, chosen = book.previous, place.chosen_context(given, os.environ, book)
    if name not in book.contexts or name is None or chosen is None or chosen[0] != book.current:
        return None
    return _of_context(given, name, book.contexts[name])


def all_of(given: Given) -> Iterator[System]:
    """Every context, by name. Raises ContextError."""
    book = contexts.read(contexts.path_of(os.environ))
    return (_of_context(given, name, context) for name, context in sorted(book.contexts.items()))


def _of_context(given: Given, name: str, context: Context) -> System:
    """--read-only holds everywhere, --no-read-only only where the cockpit was started."""
    asked = Given(context=name, read_only=given.read_only or None)
    is_rest = context.url is not None and context.nats_url is None
    return of_place(
        asked, place.Place(url="", is_rest=is_rest, context=name, protected=context.protected, color=context.color)
    )


def _address(given: Given) -> Address:
    """Read anew at each connect: an embedded system that was started again has other ports."""
    found = place.resolve(given, os.environ)
    return Address(found.url, found.user, found.password, found.creds_file)
