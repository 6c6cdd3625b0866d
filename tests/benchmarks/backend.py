"""The backend of the benchmark: answers each task at once with its payload, at as little cost as Python allows."""

import argparse
import asyncio
import signal

import msgspec

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
HEALTHY = OK % (20, b'{"status":"healthy"}')


class Wish(msgspec.Struct):
    payload: msgspec.Raw


class Call(msgspec.Struct):
    request: Wish


DECODER = msgspec.json.Decoder(Call)


class Echo(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, for requests that say their Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            start, whole = end + 4, end + 4 + _content_length(head)
            if len(self._received) < whole:
                return
            body, self._received = self._received[start:whole], self._received[whole:]
            self._transport.write(_answer(head, body))


def _answer(head: bytes, body: bytes) -> bytes:
    if not head.startswith(b"POST"):
        return HEALTHY
    payload = bytes(DECODER.decode(body).request.payload)
    return OK % (len(payload), payload)


def _content_length(head: bytes) -> int:
    found = head.lower().find(b"\r\ncontent-length:")
    return int(head[found + 17 :].split(b"\r\n", 1)[0]) if found >= 0 else 0


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=1024)
    print(f"listening http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
