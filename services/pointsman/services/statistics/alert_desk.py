"""Alerts as they are told and answered: the facts are put together here, and operators say that they know."""

from collections.abc import Callable

import msgspec

from pointsman.client.bus import Message
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.alerts import AlertList, AlertMark, ListedAlert
from pointsman.contracts.balancer import Alert
from pointsman.contracts.errors import PointsmanError, forbidden, not_found
from pointsman.contracts.execution import Alarms
from pointsman.contracts.frames import AcknowledgeRequest, AlertRow
from pointsman.services.runtime.audit import Audited
from pointsman.services.runtime.context import Context
from pointsman.services.runtime.serve import Call, Verb
from pointsman.services.statistics.alert_book import AlertBook, Name, as_listed, listed, row_of
from pointsman.services.statistics.alert_rules import causes
from pointsman.services.statistics.board import Board
from pointsman.services.statistics.facts import Archive, Facts, Storage
from pointsman.services.statistics.live import Live
from pointsman.services.statistics.marks import Marks
from pointsman.services.statistics.storage import used_share

READERS = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
WRITERS = (Role.OPERATOR, Role.ADMIN)
ANSWERS_MAX = 64
LOOK_EVERY_S = 1.0
ALARMS_KEPT_S = 15.0
MARKS_KEPT_S = 120.0
"""How long a new leader leaves marks alone whose alerts it has not seen: some need a while to come again."""
SELF = Actor(sub="pointsman-statistics", roles=(Role.SERVICE,))
_ALARMS = msgspec.json.Decoder(Alarms)
_ACKNOWLEDGE = msgspec.json.Decoder(AcknowledgeRequest)


class AlertDesk:
    """Every replica looks, so that the next leader knows since when; `leads_since_s` is None for those that do not lead."""

    def __init__(self, context: Context, board: Board, *, leads_since_s: Callable[[], float | None]) -> None:
        self._bus, self._clock = context.bus, context.clock
        self._monitor_url = context.settings.nats_monitor_url
        self._board = board
        self._leads_since_s = leads_since_s
        self._live = Live(context.bus)
        self._marks = Marks(context.bus)
        self._book = AlertBook()
        self._alarms: tuple[Alert, ...] = ()
        self._alarmed_s = self._looked_s = float("-inf")
        self._since_s = context.clock.monotonic_s()
        self._used_share: float | None = None
        self.archive: Archive | None = None
        self.refusal = ""

    async def start(self) -> None:
        await self._marks.start()
        self._since_s = self._clock.monotonic_s()

    async def stop(self) -> None:
        await self._marks.stop()

    def stir(self) -> None:
        """Something was heard that must not wait for the next look."""
        self._looked_s = float("-inf")

    def rows(self) -> tuple[AlertRow, ...]:
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            self._book.update(causes(self._facts(now_s)), self._marks.by_name, self._clock.now_ms())
        return self._book.rows(self._marks.by_name)

    async def on_alarms(self, message: Message) -> None:
        self._alarms, self._alarmed_s = _ALARMS.decode(message.data).alerts, self._clock.monotonic_s()

    async def ask_archive(self) -> None:
        leads = self._leads_since_s() is not None
        self.archive = await self._live.archived(SELF, self._clock.now_ms()) if leads else None

    async def ask_storage(self) -> None:
        leads = self._leads_since_s() is not None
        self._used_share = await used_share(self._bus, self._monitor_url) if leads else None

    async def tidy(self) -> None:
        """Marks go with their alerts."""
        since_s = self._leads_since_s()
        if since_s is None or self._clock.monotonic_s() - since_s < MARKS_KEPT_S:
            return
        for name in [name for name in self._marks.by_name if name not in self._book]:
            await self._marks.put(name, None)

    def verbs(self) -> list[Verb]:
        return [
            Verb("alerts", self._list, ANSWERS_MAX),
            Verb("acknowledge", self._acknowledge, ANSWERS_MAX, audit=Audited()),
        ]

    async def _list(self, call: Call) -> AlertList:
        _require(call.actor, READERS)
        return listed(self.rows(), self._clock.now_ms())

    async def _acknowledge(self, call: Call) -> ListedAlert:
        """Raises 400, 403, and 404 when there is no such alert (any more)."""
        _require(call.actor, WRITERS)
        request = call.decode(_ACKNOWLEDGE)
        name: Name = (request.kind, request.subject)
        call.notes.target = ":".join(name) if request.subject else request.kind
        held = self._book.get(name)
        if held is None:
            raise not_found(f"there is no alert {request.kind} of {request.subject or 'the whole system'}")
        mark = AlertMark(
            kind=request.kind,
            subject=request.subject,
            by=call.actor.sub,
            at=self._clock.now_ms(),
            since=held.since,
            note=request.note,
        )
        await self._marks.put(name, mark if request.acknowledged else None)
        return as_listed(row_of(held, self._marks.by_name))

    def _facts(self, now_s: float) -> Facts:
        flow = self._board.flow
        return Facts(
            now=self._clock.now_ms(),
            now_s=now_s,
            members=self._board.members.values(),
            silent_ms=flow.silent_ms(now_s, self._since_s),
            flow=flow.last,
            types=flow.types(now_s),
            balancer=flow.alerts,
            alarms=self._alarms if now_s - self._alarmed_s < ALARMS_KEPT_S else (),
            archive=self.archive,
            storage=Storage(self.refusal, self._used_share),
        )


def _require(actor: Actor, roles: tuple[Role, ...]) -> None:
    if not actor.has(*roles):
        raise _refusal(roles)


def _refusal(roles: tuple[Role, ...]) -> PointsmanError:
    return forbidden(f"{roles[0].capitalize()} role required")
