"""As much HTTP/1.1 as the misbehaving backend needs: read a request, write an answer or half of one."""

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus

BODY_BYTES_MAX = 8 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection, None at its end or when it is not HTTP with a Content-Length."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.rstrip().split("\r\n")
        method, target, _ = start.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        body = await reader.readexactly(length) if length <= BODY_BYTES_MAX else b""
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        return None
    return Request(method, target.partition("?")[0], headers, body)


def head_of(status: int, length: int, headers: dict[str, str] | None = None) -> bytes:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus else "Unknown"
    shown = {"Content-Type": "application/json", "Content-Length": str(length), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in shown.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")


def answer_of(status: int, value: object, headers: dict[str, str] | None = None) -> bytes:
    """A whole answer with a JSON body; 204 and 304 have none."""
    body = b"" if status in (204, 304) else json.dumps(value).encode()
    return head_of(status, len(body), headers) + body
