"""Swagger UI from our own files, so that `/docs` works offline and asks no other origin."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources

from pointsman.contracts.errors import not_found
from pointsman.services.gateway.conditions import etag, is_fresh
from pointsman.services.gateway.reply import PAGE_HEADERS, Reply

Page = Callable[[Mapping[bytes, bytes]], Reply]
FILES = {
    "index.html": b"text/html; charset=utf-8",
    "swagger-initializer.js": b"text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "swagger-ui.css": b"text/css; charset=utf-8",
    "favicon-32x32.png": b"image/png",
}


def page(name: str, headers: Mapping[bytes, bytes]) -> Reply:
    """One of our static files; 404 for any other name."""
    if name not in FILES:
        raise not_found(f"no page has the name {name[:64]}")
    return cacheable(content(name), FILES[name], headers)


def cacheable(body: bytes, content_type: bytes, headers: Mapping[bytes, bytes]) -> Reply:
    tag = _digest(body)
    own = [(b"etag", etag(tag))]
    if is_fresh(headers, tag):
        return Reply(304, b"", own, common=PAGE_HEADERS)
    return Reply(200, body, own, content_type, common=PAGE_HEADERS)


@cache
def content(name: str) -> bytes:
    return (resources.files(__package__) / "static" / name).read_bytes()


@cache
def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]
