"""Names from the running system while one types. Whatever goes wrong, nothing is said and nothing is offered."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

PATIENCE_S = 1.0


def servers(ctx: "click.Context", _param: "click.Parameter", incomplete: str) -> "list[CompletionItem | str]":
    return _names(ctx, "registry", "list", ("servers", "id"), incomplete)


def pools(ctx: "click.Context", _param: "click.Parameter", incomplete: str) -> "list[CompletionItem | str]":
    return _names(ctx, "balancer", "pool.list", ("pools", "pool"), incomplete)


def types(ctx: "click.Context", _param: "click.Parameter", incomplete: str) -> "list[CompletionItem | str]":
    return _names(ctx, "balancer", "type.list", ("types", "type"), incomplete)


def tasks(ctx: "click.Context", _param: "click.Parameter", incomplete: str) -> "list[CompletionItem | str]":
    return _names(ctx, "history", "search", ("tasks", "id"), incomplete)


def contexts(_ctx: "click.Context", _param: "click.Parameter", incomplete: str) -> "list[CompletionItem | str]":
    try:
        import os

        from pointsman.cli import contexts as book

        names = sorted(book.read(book.path_of(os.environ)).contexts)
    except Exception:  # noqa: BLE001 - a shell that completes must never be disturbed
        return []
    return [name for name in names if name.startswith(incomplete)]


def _names(
    ctx: "click.Context", service: str, verb: str, where: tuple[str, str], incomplete: str
) -> "list[CompletionItem | str]":
    try:
        return [name for name in _asked(ctx, service, verb, where) if name.startswith(incomplete)]
    except BaseException:  # noqa: BLE001 - a shell that completes must never be disturbed
        return []


def _asked(ctx: "click.Context", service: str, verb: str, where: tuple[str, str]) -> list[str]:
    import json
    import os

    from pointsman.cli import options, place, reaching
    from pointsman.client import blocking
    from pointsman.contracts.subjects import verb as subject_of

    bus = reaching.connect(place.resolve(options.given_of(ctx), os.environ), PATIENCE_S)
    answer = blocking.run(blocking.call(bus, subject_of(service, verb), b"{}", reaching.actor()))
    return [str(one[where[1]]) for one in json.loads(answer.data)[where[0]]]


def algorithms(_ctx: "click.Context", _param: "click.Parameter", incomplete: str) -> "list[CompletionItem | str]":
    from pointsman.contracts.balancer import ALGORITHM_NAMES

    return [str(name) for name in ALGORITHM_NAMES if name.startswith(incomplete)]
