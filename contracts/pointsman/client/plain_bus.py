"""NATS requests over a plain socket: what a command that asks once needs of the protocol, and no more.

https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

import os
import socket
import time
from typing import Any

import msgspec

from pointsman.client.blocking import Blocking
from pointsman.client.bus import BusDenied, BusDown, BusTimeout, Headers, Message, NoResponders

PORT = 4222
LINE_BYTES_MAX = 1 << 20
READ_BYTES = 1 << 16
NO_RESPONDERS = "503"
DENIED = "violation"


class Address(msgspec.Struct, frozen=True):
    host: str
    port: int
    is_secure: bool
    user: str
    password: str


class PlainBus(Blocking):
    """One connection with one inbox; not for several threads. `connect` makes it."""

    def __init__(self, connection: socket.socket, end_s: float, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._socket = connection
        self._read = bytearray()
        self._inbox = f"_INBOX.{os.urandom(11).hex()}"
        self._count = 0
        self._end_s = end_s

    async def request(
        self, subject: str, data: bytes, *, headers: Headers | None = None, timeout_s: float = 5.0
    ) -> Message:
        self._end_s = time.monotonic() + timeout_s
        self._count += 1
        reply = f"{self._inbox}.{self._count}"
        self._send(_published(subject, reply, data, headers or {}))
        while True:
            message = self._next()
            if message is not None and message.subject == reply:
                if message.headers.get("Status") == NO_RESPONDERS and not message.data:
                    raise NoResponders(subject)
                return message

    async def close(self) -> None:
        self._socket.close()

    def begin(self, login: dict[str, object], address: "Address") -> None:
        """INFO, CONNECT, and the one subscription for answers; raises BusDown when refused."""
        info: dict[str, Any] = msgspec.json.decode(self._line().removeprefix(b"INFO "))
        if address.is_secure or info.get("tls_required"):
            import ssl

            self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=address.host)
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "pointsman"}
        said = msgspec.json.encode(options | {"version": "1", "protocol": 1} | login)
        self._send(b"CONNECT %b\r\nSUB %b.* 1\r\nPING\r\n" % (said, self._inbox.encode()))
        while not self._line().startswith(b"PONG"):
            pass

    def _next(self) -> Message | None:
        """The next message; None for a line that is none."""
        line = self._line()
        verb, *words = line.split()
        match verb:
            case b"MSG":
                return Message(words[0].decode(), self._body(int(words[-1])), {})
            case b"HMSG":
                head, whole = int(words[-2]), int(words[-1])
                body = self._body(whole)
                return Message(words[0].decode(), body[head:], _headers(body[:head]))
            case b"PING":
                self._send(b"PONG\r\n")
        return None

    def _line(self) -> bytes:
        while (end := self._read.find(b"\r\n")) < 0:
            if len(self._read) > LINE_BYTES_MAX:
                raise BusDown("what answers does not speak NATS")
            self._receive()
        line = bytes(self._read[:end])
        del self._read[: end + 2]
        if line.startswith(b"-ERR"):
            said = line.removeprefix(b"-ERR").strip(b" '").decode(errors="replace")
            raise (BusDenied if DENIED in said.lower() else BusDown)(said)
        return line

    def _body(self, size: int) -> bytes:
        while len(self._read) < size + 2:
            self._receive()
        body = bytes(self._read[:size])
        del self._read[: size + 2]
        return body

    def _receive(self) -> None:
        try:
            self._socket.settimeout(max(0.001, self._end_s - time.monotonic()))
            received = self._socket.recv(READ_BYTES)
        except TimeoutError:
            raise BusTimeout("no answer in time") from None
        except OSError as error:
            raise BusDown(str(error)) from error
        if not received:
            raise BusDown("the connection was closed")
        self._read += received

    def _send(self, data: bytes) -> None:
        try:
            self._socket.settimeout(max(0.001, self._end_s - time.monotonic()))
            self._socket.sendall(data)
        except TimeoutError:
            raise BusTimeout("not sent in time") from None
        except OSError as error:
            raise BusDown(str(error)) from error


def connect(
    url: str, *, name: str, user: str = "", password: str = "", connect_timeout_s: float = 5.0, timeout_s: float = 10.0
) -> PlainBus:
    """The first server of a comma-separated list that takes us; raises BusDown with what the last one said."""
    refusal: Exception = BusDown("no address is given")
    for one in url.split(","):
        try:
            address = address_of(one.strip())
            login: dict[str, object] = {"name": name}
            if user or address.user:
                login |= {"user": user or address.user, "pass": password or address.password}
            return _connected(address, login, connect_timeout_s, timeout_s)
        except (BusDown, BusTimeout, OSError, ValueError) as error:
            refusal = BusDown(f"{one.strip().rpartition('@')[2]}: {str(error) or type(error).__name__}")
    raise refusal


def address_of(url: str) -> Address:
    """`tls://user:password@host:port`; raises ValueError."""
    scheme, _, rest = url.rpartition("://")
    login, _, place = rest.rpartition("@")
    user, _, password = login.partition(":")
    host, colon, port = place.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = place, str(PORT)
    if not (host and port.isascii() and port.isdecimal()) or scheme not in ("", "nats", "tls"):
        raise ValueError("no address like nats://host:4222")
    return Address(host.strip("[]"), int(port), scheme == "tls", _decoded(user), _decoded(password))


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


def _connected(address: Address, login: dict[str, object], connect_timeout_s: float, timeout_s: float) -> PlainBus:
    end_s = time.monotonic() + connect_timeout_s
    connection = socket.create_connection((address.host, address.port), connect_timeout_s)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bus = PlainBus(connection, end_s, timeout_s)
        bus.begin(login, address)
    except BaseException:
        connection.close()
        raise
    return bus


def _published(subject: str, reply: str, data: bytes, headers: Headers) -> bytes:
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
    head = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    coded = head.encode()
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (
        subject.encode(),
        reply.encode(),
        len(coded),
        len(coded) + len(data),
        coded,
        data,
    )


def _headers(head: bytes) -> dict[str, str]:
    first, *lines = head.decode(errors="replace").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    found = {name: value.strip() for name, _, value in pairs}
    status = first.removeprefix("NATS/1.0").strip()
    return found | {"Status": status[:3]} if status else found
