"""Whether NATS lets us do what the command line does, which services answer, and of which version they are."""

import asyncio

import msgspec

from pointsman.cli.finding_of import Finding
from pointsman.client import nats_bus
from pointsman.client.bus import Bus, BusError, Message
from pointsman.client.call import identity
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.base import encode
from pointsman.contracts.history import HistoryStatus
from pointsman.contracts.server import ServerQuery
from pointsman.contracts.subjects import PREFIX, verb
from pointsman.services.runtime.settings import Settings
from pointsman.services.version import VERSION

TIMEOUT_S = 5.0
GATHER_S = 1.0
NEEDED = ("task", "registry", "balancer", "instance", "history", "statistics")
US = Actor(sub="local:doctor", roles=(Role.OPERATOR,))
ASKED = verb("registry", "list")
ARCHIVE = verb("history", "status")
LISTENED = f"{PREFIX}.view.load"


class _Ping(msgspec.Struct):
    name: str
    version: str


async def findings(settings: Settings) -> list[Finding]:
    """Nothing when NATS cannot be reached, which another check tells."""
    refusals: list[str] = []
    try:
        bus = await nats_bus.connect(
            settings.nats_url,
            name="pointsman doctor",
            user=settings.nats_user,
            password=settings.nats_password,
            credentials_file=settings.nats_creds_file,
            connect_timeout_s=TIMEOUT_S,
            on_error=refusals.append,
        )
    except BusError:
        return []
    try:
        answered = await _pinged(bus)
        asked = [*await _may_ask(bus), *await archive(bus)]
        await _listened(bus)
    except BusError as error:
        return [Finding(False, f"NATS went away meanwhile: {error}")]
    finally:
        await bus.close()
    denied = [refusal for refusal in refusals if "permissions" in refusal.lower()]
    allowed = Finding(False, f"NATS denies us: {denied[0]}") if denied else Finding(True, "NATS lets us ask and listen")
    return [allowed, *versions(answered), *asked]


async def _pinged(bus: Bus) -> dict[str, set[str]]:
    """The versions of each service, of all that answer within a second."""
    found: dict[str, set[str]] = {}

    async def answer(message: Message) -> None:
        ping = msgspec.json.decode(message.data, type=_Ping)
        found.setdefault(ping.name.removeprefix(f"{PREFIX}-"), set()).add(ping.version)

    inbox = bus.new_inbox()
    subscription = await bus.subscribe(inbox, answer)
    await bus.publish("$SRV.PING", b"", reply=inbox)
    await asyncio.sleep(GATHER_S)
    await subscription.unsubscribe()
    return found


def versions(answered: dict[str, set[str]]) -> list[Finding]:
    if not answered:
        return [Finding(False, "no service answers")]
    versions = {version for some in answered.values() for version in some}
    told = [Finding(True, f"services answer: {', '.join(sorted(answered))}")]
    if silent := [name for name in NEEDED if name not in answered]:
        told.append(Finding(False, f"no answer from: {', '.join(silent)}"))
    others = sorted(versions - {VERSION})
    told.append(
        Finding(False, f"services of version {', '.join(others)} run, this is {VERSION}")
        if others
        else Finding(True, f"all are of our version, {VERSION}")
    )
    return told


async def _may_ask(bus: Bus) -> list[Finding]:
    try:
        await bus.request(ASKED, encode(ServerQuery(limit=1)), headers=identity(US), timeout_s=TIMEOUT_S)
    except BusError as error:
        return [Finding(False, f"{ASKED} gets no answer: {type(error).__name__}")]
    return []


async def archive(bus: Bus) -> list[Finding]:
    """Nothing when history is silent, which another finding tells."""
    try:
        answer = await bus.request(ARCHIVE, b"{}", headers=identity(US), timeout_s=TIMEOUT_S)
        status = msgspec.json.decode(answer.data, type=HistoryStatus)
    except (BusError, msgspec.MsgspecError):
        return []
    waits = "records wait" if status.backlog is None else f"{status.backlog} records wait"
    if status.trouble:
        return [Finding(False, f"nothing is archived, {waits}: {status.trouble.partition('\n')[0]}")]
    return [Finding(True, f"history archives, {waits}")]


async def _listened(bus: Bus) -> None:
    async def ignore(_message: Message) -> None:
        pass

    subscription = await bus.subscribe(LISTENED, ignore)
    await bus.barrier()
    await subscription.unsubscribe()
