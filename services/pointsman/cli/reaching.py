"""A connection to a place, and who asks there; all that completion needs, and so without the typed client."""

import getpass
import os
from typing import TYPE_CHECKING

from pointsman.contracts.actor import Actor, Role

if TYPE_CHECKING:
    from pointsman.cli.place import Place
    from pointsman.client.blocking import Blocking

CONNECT_S_MAX = 5.0


def connect(there: "Place", timeout_s: float) -> "Blocking":
    """A blocking connection for one thread. Raises BusError."""
    if there.is_rest:
        from pointsman.client.rest_bus import RestBus

        return RestBus(there.url, there.token, timeout_s=timeout_s)
    from pointsman.client import plain_bus

    return plain_bus.connect(
        there.url,
        name="pointsman cli",
        user=there.user,
        password=there.password,
        connect_timeout_s=min(CONNECT_S_MAX, timeout_s),
        timeout_s=timeout_s,
    )


def actor() -> Actor:
    """Whoever can connect to the bus may do everything there: acts are recorded under the name of the system's user."""
    return Actor(sub=f"local:{_user()}", roles=(Role.OPERATOR, Role.ADMIN), request_id=f"cli-{os.urandom(6).hex()}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"
