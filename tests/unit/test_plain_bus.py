"""NATS over a plain socket, against a server that says what it is told to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pointsman.client import blocking, plain_bus
from pointsman.client.bus import BusDenied, BusDown, BusTimeout, NoResponders
from pointsman.client.plain_bus import Address, address_of

INFO = b'INFO {"server_id":"x","headers":true}\r\n'


@contextmanager
def scripted(*answers: bytes) -> Iterator[str]:
    """Says INFO; then an answer to each thing it hears, in pieces of 3 bytes; `REPLY` is where the last request wants it."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(INFO)
            for answer in answers:
                heard = connection.recv(65_536)
                words = heard.split(b"\r\n")[0].split()
                said = answer.replace(b"REPLY", words[2] if words[0] in (b"PUB", b"HPUB") else b"")
                for start in range(0, len(said), 3):
                    connection.sendall(said[start : start + 3])
            while connection.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"nats://127.0.0.1:{server.getsockname()[1]}"


def asked(url: str, timeout_s: float = 5.0) -> tuple[bytes, dict[str, str]]:
    bus = plain_bus.connect(url, name="test")
    try:
        message = blocking.run(bus.request("a.b", b"{}", headers={"Some": "header"}, timeout_s=timeout_s))
        return message.data, dict(message.headers)
    finally:
        blocking.run(bus.close())


def test_an_answer_has_body_and_headers_however_it_comes_in() -> None:
    head = b"NATS/1.0\r\nPointsman-Revision: 7\r\n\r\n"
    answer = b"PING\r\nMSG other 1 2\r\nno\r\nHMSG REPLY 1 %d %d\r\n%byes\r\n" % (len(head), len(head) + 3, head)
    with scripted(b"PONG\r\n", answer) as url:
        assert asked(url) == (b"yes", {"Pointsman-Revision": "7"})
    with scripted(b"+OK\r\nPONG\r\n", b"MSG REPLY 1 4\r\n\r\n\r\n\r\n") as url:
        assert asked(url) == (b"\r\n\r\n", {})


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ((b"-ERR 'Authorization Violation'\r\n",), BusDenied),
        ((b"PONG\r\n", b"-ERR 'Permissions Violation for Publish to \"a.b\"'\r\n"), BusDenied),
        ((b"PONG\r\n", b"-ERR 'Stale Connection'\r\n"), BusDown),
        ((b"PONG\r\n", b"HMSG REPLY 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"), NoResponders),
        ((b"PONG\r\n", b"PING\r\n"), BusTimeout),
        ((b"HTTP/1.1 400 Bad Request" + b"x" * (1 << 21),), BusDown),
    ],
)
def test_what_goes_wrong_has_a_name(answers: tuple[bytes, ...], error: type[Exception]) -> None:
    with scripted(*answers) as url, pytest.raises(error):
        asked(url, timeout_s=0.3)


def test_the_next_server_is_tried_and_the_last_reason_is_told() -> None:
    with scripted(b"PONG\r\n", b"MSG REPLY 1 1\r\n1\r\n") as url:
        assert asked(f"nats://127.0.0.1:9,{url}")[0] == b"1"
    with pytest.raises(BusDown, match=r"127\.0\.0\.1:9: .*refused"):
        plain_bus.connect("nats://me:secret@127.0.0.1:9", name="test")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nats://a:1", Address("a", 1, False, "", "")),
        ("a", Address("a", 4222, False, "", "")),
        ("tls://me:p%40ss:w@a", Address("a", 4222, True, "me", "p@ss:w")),
        ("nats://[::1]:5", Address("::1", 5, False, "", "")),
        ("nats://[::1]", Address("::1", 4222, False, "", "")),
    ],
)
def test_an_address_is_read(url: str, address: Address) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize("url", ["", "ws://a", "nats://:4222", "nats://a:x"])
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(BusDown, match="no address like"):
        plain_bus.connect(url, name="test")
