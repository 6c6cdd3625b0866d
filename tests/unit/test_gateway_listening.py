"""Stuck readers are bounded on the gateway's own listening socket; looking for it leaves no file open."""

import os
import socket

from pointsman.services.gateway.listening import OPEN_FILES, drop_stuck


def test_the_listening_socket_is_found_and_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert drop_stuck(listener.getsockname()[1], 7_000)
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7_000


def test_looking_again_and_again_leaves_no_file_open() -> None:
    reading, writing = os.pipe()
    try:
        before = len(list(OPEN_FILES.iterdir()))
        for _ in range(5):
            assert not drop_stuck(1, 7_000)
        assert len(list(OPEN_FILES.iterdir())) == before
    finally:
        os.close(reading)
        os.close(writing)
