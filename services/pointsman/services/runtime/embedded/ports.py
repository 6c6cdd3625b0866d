"""Free TCP ports, from below those that outgoing connections take."""

import random
import socket

LOWEST, HIGHEST, TRIES = 20_000, 32_000, 50
CHANCE = random.SystemRandom()
"""Not the seeded generator: two processes with one seed would take the same ports."""


def free(host: str = "127.0.0.1") -> int:
    """A port that is free now, and that no outgoing connection will take before it is used again after a restart."""
    for port in CHANCE.sample(range(LOWEST, HIGHEST), TRIES):
        if is_free(port, host):
            return port
    with _bound(host, 0) as listener:
        return int(listener.getsockname()[1])


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    try:
        _bound(host, port).close()
    except OSError:
        return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
