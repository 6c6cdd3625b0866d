"""Whether the gateway can be reached, is ready, and has our time."""

import asyncio
import http.client
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from pointsman.cli.finding_of import Finding, skew
from pointsman.services.runtime.settings import Settings

TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 1 << 20
DATE_STEP_S = 1.0


class _Dependency(msgspec.Struct):
    ok: bool
    detail: str = ""


class _Ready(msgspec.Struct):
    dependencies: dict[str, _Dependency] = {}


async def findings(settings: Settings) -> list[Finding]:
    return await asyncio.to_thread(_findings, settings.base_url)


def _findings(url: str) -> list[Finding]:
    parts = urlsplit(url)
    speaks = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection: http.client.HTTPConnection = speaks(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        asked_s = time.time()
        connection.request("GET", parts.path + "/readyz")
        answer = connection.getresponse()
        data, answered_s = answer.read(ANSWER_BYTES_MAX), time.time()
    except (OSError, http.client.HTTPException) as error:
        return [Finding(False, f"the gateway cannot be reached at {url}: {error}")]
    finally:
        connection.close()
    told = [readiness(url, answer.status, data)]
    if date := answer.getheader("Date"):
        theirs_s = parsedate_to_datetime(date).timestamp()
        told.append(skew("the gateway", theirs_s, asked_s, answered_s, exact_s=DATE_STEP_S))
    return told


def readiness(url: str, status: int, data: bytes) -> Finding:
    try:
        ready = msgspec.json.decode(data, type=_Ready)
    except msgspec.MsgspecError:
        return Finding(False, f"what answers at {url} is no gateway of Pointsman (HTTP {status})")
    away = [f"{name} ({one.detail})" if one.detail else name for name, one in ready.dependencies.items() if not one.ok]
    if away:
        return Finding(False, f"the gateway at {url} goes without {', '.join(away)}")
    return Finding(status == http.client.OK, f"the gateway is ready at {url}")
