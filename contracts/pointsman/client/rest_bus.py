"""The same requests over the gateway's REST interface, where NATS cannot be reached: a verb is a route.

Blocking, on `http.client`: https://docs.python.org/3/library/http.client.html
"""

import http.client
import socket
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from pointsman.client.blocking import Blocking
from pointsman.client.bus import BusDown, BusError, BusTimeout, Headers, Message
from pointsman.client.identity import problem_of
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.subjects import (
    HEADER_ERROR_CODE,
    HEADER_IDEMPOTENCY_KEY,
    HEADER_OPERATION,
    HEADER_REPLAYED,
    HEADER_REVISION,
    PREFIX,
    verb,
)

type Fields = dict[str, object]

ANSWER_BYTES_MAX = 64 << 20


class Way(msgspec.Struct, frozen=True):
    """`within`: the field that holds the body; else the body, or the query of a GET or DELETE, is what the path left."""

    method: str
    path: str
    within: str = ""


WAYS = {
    verb("task", "create"): Way("POST", "/api/task"),
    verb("task", "get"): Way("GET", "/api/task/{id}"),
    verb("task", "cancel"): Way("POST", "/api/task/{id}/cancel"),
    verb("task", "retry"): Way("POST", "/api/task/{id}/retry"),
    verb("task", "explain"): Way("GET", "/api/task/{id}/explain"),
    verb("registry", "list"): Way("GET", "/api/servers"),
    verb("registry", "get"): Way("GET", "/api/servers/{id}"),
    verb("registry", "register"): Way("POST", "/api/servers", "server"),
    verb("registry", "maintenance"): Way("POST", "/api/servers/{id}/maintenance", "maintenance"),
    verb("registry", "maintain-many"): Way("POST", "/api/servers/maintenance"),
    verb("registry", "change"): Way("PATCH", "/api/servers/{id}", "change"),
    verb("registry", "unregister"): Way("DELETE", "/api/servers/{id}"),
    verb("statistics", "tasks"): Way("GET", "/api/stats/tasks"),
    verb("statistics", "hourly"): Way("GET", "/api/stats/hourly"),
    verb("statistics", "servers"): Way("GET", "/api/stats/servers/{serverId}"),
    verb("statistics", "types"): Way("GET", "/api/stats/types"),
    verb("statistics", "fleet"): Way("GET", "/api/stats/servers"),
    verb("statistics", "alerts"): Way("GET", "/api/alerts"),
    verb("statistics", "acknowledge"): Way("POST", "/api/alerts/acknowledge"),
    verb("statistics", "load-balancer"): Way("GET", "/api/stats/load-balancer"),
    verb("balancer", "algorithm"): Way("POST", "/api/stats/load-balancer/algorithm"),
    verb("balancer", "pool.list"): Way("GET", "/api/pools"),
    verb("balancer", "pool.get"): Way("GET", "/api/pools/{pool}"),
    verb("balancer", "pool.plan"): Way("GET", "/api/pools/{pool}/plan"),
    verb("balancer", "pool.replace"): Way("PUT", "/api/pools/{pool}", "settings"),
    verb("balancer", "pool.change"): Way("PATCH", "/api/pools/{pool}", "settings"),
    verb("balancer", "pool.undo"): Way("POST", "/api/pools/{pool}/undo"),
    verb("balancer", "type.list"): Way("GET", "/api/types"),
    verb("balancer", "type.get"): Way("GET", "/api/types/{type}"),
    verb("balancer", "type.declare"): Way("PUT", "/api/types/{type}", "settings"),
    verb("balancer", "type.remove"): Way("DELETE", "/api/types/{type}"),
    verb("balancer", "type.undo"): Way("POST", "/api/types/{type}/undo"),
    verb("balancer", "limit.list"): Way("GET", "/api/limits"),
    verb("balancer", "limit.set"): Way("PUT", "/api/limits/{kind}/{name}", "limit"),
    verb("balancer", "limit.clear"): Way("DELETE", "/api/limits/{kind}/{name}"),
    verb("history", "search"): Way("GET", "/api/tasks", "filters"),
    verb("history", "bulk"): Way("POST", "/api/tasks/{kind}", "bulk"),
    verb("history", "job"): Way("GET", "/api/jobs/{id}"),
    verb("history", "audit"): Way("GET", "/api/audit"),
}


class RestBus(Blocking):
    """One kept connection; not for several threads. `url` is the gateway's, `token` a bearer token or empty."""

    def __init__(self, url: str, token: str, *, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        self.timeout_s = timeout_s
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._base = quote(parts.path.rstrip("/"), safe="/%")
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        speaks = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection: http.client.HTTPConnection = speaks(parts.hostname or "", parts.port, timeout=timeout_s)

    @property
    def round_trip_url(self) -> str:
        return self._url

    async def request(
        self, subject: str, data: bytes, *, headers: Headers | None = None, timeout_s: float = 5.0
    ) -> Message:
        if (way := WAYS.get(subject)) is None:
            raise BusError(f"{subject.removeprefix(PREFIX + '.')} is not offered over REST: give a NATS address")
        method, path, body, conditions = _translated(way, data)
        for name in (HEADER_IDEMPOTENCY_KEY, HEADER_OPERATION):
            if key := (headers or {}).get(name):
                conditions["Idempotency-Key"] = key
        return Message(subject, *self.fetch(method, path, body, conditions, timeout_s))

    def fetch(
        self, method: str, path: str, body: bytes | None = None, headers: Headers | None = None, timeout_s: float = 10.0
    ) -> tuple[bytes, dict[str, str]]:
        """Body and headers of the answer, a refusal's marked as over NATS; raises BusDown and BusTimeout."""
        sent = self._headers | dict(headers or {}) | ({"Content-Type": "application/json"} if body is not None else {})
        answer = self.open(method, path, body, sent, timeout_s)
        try:
            data = answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise self._away(error) from error
        if answer.status >= 300:
            refusal = _refusal(answer, data)
            return encode(refusal.problem()), {HEADER_ERROR_CODE: str(answer.status)}
        told = {HEADER_REPLAYED: "true"} if answer.getheader("Idempotency-Replayed") else {}
        if tag := answer.getheader("ETag"):
            told[HEADER_REVISION] = tag.removeprefix("W/").strip('"')
        return data, told

    def open(
        self, method: str, path: str, body: bytes | None, headers: Headers, timeout_s: float
    ) -> http.client.HTTPResponse:
        """The answer, not read yet. A kept connection that the gateway closed meanwhile is made anew for what may repeat."""
        for is_last in (method != "GET", True):
            self._connection.timeout = timeout_s
            if self._connection.sock is not None:
                self._connection.sock.settimeout(timeout_s)
            try:
                self._connection.request(method, self._base + path, body, dict(self._headers) | dict(headers))
                return self._connection.getresponse()
            except TimeoutError:
                self._connection.close()
                raise BusTimeout(f"{self._url} gave no answer within {timeout_s:g} s") from None
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if is_last:
                    raise self._away(error) from error
        raise AssertionError

    async def close(self) -> None:
        self._connection.close()

    def _away(self, error: Exception) -> BusDown:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, socket.gaierror):
            reason = f"unknown host: {reason}"
        return BusDown(f"{self._url}: {reason or type(error).__name__}")


def _translated(way: Way, data: bytes) -> tuple[str, str, bytes | None, dict[str, str]]:
    """Method, path with query, body, and the condition that a verb carries as a field."""
    fields: Fields = {name: value for name, value in msgspec.json.decode(data).items() if value is not None}
    revision = fields.pop("ifMatch", None)
    path = "/".join(_filled(part, fields) for part in way.path.split("/"))
    inner = fields.pop(way.within, {}) if way.within else {}
    left = fields | inner if isinstance(inner, dict) else fields
    conditions = {} if revision is None else {"If-Match": f'"{revision}"'}
    if way.method in ("GET", "DELETE"):
        query = urlencode([(_parameter(name), _text(value)) for name, value in left.items() if value is not False])
        return way.method, f"{path}?{query}" if query else path, None, conditions
    return way.method, path, msgspec.json.encode(left), conditions


def _filled(part: str, fields: Fields) -> str:
    return quote(str(fields.pop(part[1:-1])), safe="") if part.startswith("{") else part


def _parameter(name: str) -> str:
    return {"fromMs": "from", "toMs": "to"}.get(name, name)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refusal(answer: http.client.HTTPResponse, data: bytes) -> PointsmanError:
    if not answer.getheader("Content-Type", "").startswith("application/problem+json"):
        return PointsmanError(answer.status, f"HTTP {answer.status} {answer.reason}, not from Pointsman")
    refusal = problem_of(Message("", data, {HEADER_ERROR_CODE: str(answer.status)}))
    wait = answer.getheader("Retry-After", "")
    if refusal.retry_after_s is None and wait.isdecimal():
        refusal.retry_after_s = int(wait)
    return refusal
