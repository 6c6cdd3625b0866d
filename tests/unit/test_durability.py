"""Whether a broker syncs: told by what it says of its store now, not by what it once said of itself."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pointsman.services.runtime import durability

VARZ = {"server_id": "N1", "version": "2.15.0", "now": "2026-01-01T00:00:00Z", "jetstream": {}}


@contextmanager
def monitoring(answers: dict[str, object]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            self.send_response(200 if answer is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("syncs", [True, False])
async def test_a_broker_that_was_asked_too_early_still_tells_how_it_stores(syncs: bool) -> None:
    """Its first /varz came before its JetStream stood, so that no later one says anything of it."""
    with monitoring({"/varz": VARZ, "/jsz": {"config": {"sync_always": syncs}}}) as url:
        server = await durability.monitored(url)
        assert server is not None
        assert durability.syncs(server) is syncs


async def test_what_is_no_nats_server_is_not_believed() -> None:
    with monitoring({"/varz": {"hello": 1}, "/jsz": {"config": {"sync_always": True}}}) as url:
        assert await durability.monitored(url) is None


async def test_a_broker_without_jetstream_does_not_sync() -> None:
    with monitoring({"/varz": VARZ}) as url:
        server = await durability.monitored(url)
        assert server is not None
        assert not durability.syncs(server)
