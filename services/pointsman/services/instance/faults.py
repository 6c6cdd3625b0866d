"""What a call that got no answer means. Pure."""

import aiohttp

from pointsman.contracts.record import Attempt
from pointsman.services.runtime.outcomes import Failed, Lost, cut

STALE_CONNECTION_S = 1.0
STALE_CONNECTION = "the server closed an idle connection"


def may_be_stale(*, reused: bool, elapsed_s: float, before: tuple[Attempt, ...]) -> bool:
    """Whether a connection that broke without an answer may have been closed before our request came.

    It cannot be known: the server may as well have read the request and died of it. So the request is not simply sent
    again, the attempt is lost and the task gets another one, with a number of its own. Twice in a row is no
    coincidence: a task that kills its server would else be tried for ever.
    """
    again = bool(before) and before[-1].outcome == "lost" and before[-1].error == STALE_CONNECTION
    return reused and elapsed_s < STALE_CONNECTION_S and not again


def outcome_of_fault(error: Exception, *, maybe_stale: bool) -> Failed | Lost:
    """Not reached: lost. A pooled connection closed as we sent: lost, nobody's fault. Anything later: failed."""
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | PermissionError():
            return Lost(reason=cut(f"the server cannot be reached: {reason_of(error)}"), server_fault=True)
        case aiohttp.ClientPayloadError():
            return _broken("the answer broke off or its length is a lie")
        case aiohttp.ClientConnectionError() | OSError() if maybe_stale:
            return Lost(reason=STALE_CONNECTION)
        case aiohttp.ServerDisconnectedError():
            return _broken("the server closed the connection without an answer")
        case aiohttp.ClientConnectionError() | OSError():
            return _broken(f"the connection broke: {reason_of(error)}")
        case aiohttp.ClientResponseError():
            return _broken(f"not an HTTP answer: {error.message}")
        case _:
            return _broken(reason_of(error))


def reason_of(error: BaseException) -> str:
    """The reason in the words of the system, without the URL."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} is not known"
        case aiohttp.ConnectionTimeoutError():
            return "no connection in time"
        case aiohttp.ClientConnectorError():
            inner = error.os_error
            return inner.strerror or str(inner) or type(inner).__name__
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return str(error) or type(error).__name__


def _broken(error: str) -> Failed:
    return Failed(error=cut(" ".join(error.split())), server_fault=True)
