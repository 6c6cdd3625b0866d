"""Structured logs: one line per event on stderr, bound to task and request, without secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

REDACTED = "[redacted]"
_SECRET_KEY = re.compile(r"secret|token|password|authorization|api_?key|payload|cookie|dsn|creds", re.IGNORECASE)
_URL_SECRETS = re.compile(r"(?P<user>(?<=://)[^/@\s]+@)|(?P<query>(?<=\?)[^\s\"'#]+)")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"']+", re.IGNORECASE)
_DEPTH_MAX = 8


def configure(service: str, *, level: str = "info", form: Literal["json", "console"] = "json") -> None:
    """Send structlog and the standard library's logging to stderr; call once, at process start."""
    structlog.configure(
        processors=[*_shared(service), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(service, form))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: hides values under secret keys, and credentials and queries of URLs."""
    return {key: _shown(key, value, _DEPTH_MAX) for key, value in event.items()}


def _shared(service: str) -> list[Any]:
    def add_service(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        add_service,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(service: str, form: Literal["json", "console"]) -> logging.Formatter:
    last = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if form == "console" else _json
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(service),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            last,
        ],
    )


_json = structlog.processors.JSONRenderer()


def _shown(key: str, value: Any, depth: int) -> Any:
    if _SECRET_KEY.search(key) or depth == 0:
        return REDACTED
    match value:
        case str():
            return _URL.sub(_without_secrets, value)
        case dict():
            return {name: _shown(str(name), inner, depth - 1) for name, inner in value.items()}
        case list() | tuple():
            return [_shown("", inner, depth - 1) for inner in value]
        case _:
            return value


def _without_secrets(url: re.Match[str]) -> str:
    return _URL_SECRETS.sub(lambda found: REDACTED + ("@" if found["user"] else ""), url[0])
