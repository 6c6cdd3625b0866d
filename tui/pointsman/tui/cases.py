"""Acts on their way: each has its plan asked for while somebody looks, is sent when it was confirmed, and goes on when left."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from pointsman.client.bus import BusError
from pointsman.client.client import Client
from pointsman.contracts.actor import Actor, Role
from pointsman.contracts.errors import FieldError, PointsmanError
from pointsman.contracts.ids import new_operation_id
from pointsman.contracts.search import Job
from pointsman.tui import doing
from pointsman.tui.acts import Act, Facts, Tier
from pointsman.tui.plans import job_text
from pointsman.tui.underway import Outcome, Sign, State, Underway

PLAN_S, PLAN_AGAIN_S = 10.0, 1.0
SEND_AGAIN_S, SEND_AGAIN_MAX_S = 0.5, 5.0
PATIENCE_S = 120.0
JOB_LOOK_S, JOB_SILENCE_MAX = 0.5, 240
UNDO_S = 60.0


class Case:
    """One act, and those who look at it: called after each change."""

    def __init__(self, underway: Underway) -> None:
        self.underway = underway
        self.job: Job | None = None
        self.fields: tuple[FieldError, ...] = ()
        self.trouble = ""
        self.watchers: list[Callable[[], None]] = []

    def become(self, underway: Underway, *, trouble: str = "") -> None:
        self.underway, self.trouble = underway, trouble
        self.told()

    def told(self) -> None:
        for watcher in tuple(self.watchers):
            watcher()

    @property
    def said(self) -> str:
        """What it is, in a line."""
        if self.job is not None:
            return f"{self.job.id}: {job_text(self.job)}"
        return f"{self.underway.act.verb}, sent as {self.underway.act.operation}, is not answered yet"

    @property
    def is_running(self) -> bool:
        """Something of it goes on that the operator may want to see end."""
        if self.underway.state in (State.PENDING, State.UNKNOWN):
            return True
        return self.job is not None and self.job.status == "RUNNING"


@dataclass(frozen=True, slots=True)
class Undoable:
    pool: str
    revision: int
    until: float


class Cockpit(Protocol):
    """What acts need of the app."""

    @property
    def client(self) -> Client | None: ...
    @property
    def why_read_only(self) -> str | None: ...
    @property
    def actor(self) -> str: ...
    @property
    def is_protected(self) -> bool: ...
    def work(self, work: Coroutine[None, None, None]) -> None:
        """Run it beside everything else."""

    def confirm(self, case: Case) -> None:
        """Ask the operator."""

    def tell(self, text: str, *, is_good: bool) -> None: ...


class Acts:
    def __init__(self, cockpit: Cockpit) -> None:
        self._cockpit = cockpit
        self.cases: list[Case] = []
        self.undoable: Undoable | None = None

    @property
    def running(self) -> list[Case]:
        return [case for case in self.cases if case.is_running]

    def facts(self, count: int | None, running: int = 0) -> Facts:
        return Facts(count, running, self._cockpit.is_protected)

    def begin(self, act: Act, facts: Facts) -> Case | None:
        """From the key on. None when nothing may be done from here: the operator is told why."""
        if reason := self._cockpit.why_read_only:
            self._cockpit.tell(reason, is_good=False)
            return None
        case = Case(Underway(act, facts))
        self.cases = [*self.running, case]
        if case.underway.tier is Tier.NONE:
            self._cockpit.work(self._at_once(case))
        else:
            self.open(case)
        return case

    def open(self, case: Case) -> None:
        self._cockpit.confirm(case)
        self._cockpit.work(self._keep_planned(case))

    def confirm(self, case: Case) -> bool:
        """Send it, if it may be. Whether it is on its way."""
        confirmed = case.underway.confirmed(monotonic(), self._cockpit.why_read_only)
        if confirmed is case.underway:
            return False
        case.fields = ()
        case.become(confirmed)
        self._cockpit.work(self._send(case))
        return True

    def review(self, case: Case) -> None:
        """Plan it anew, on what is there now."""
        before = case.underway
        case.become(before.reviewed(new_operation_id()))
        if case.underway is not before:
            self._cockpit.work(self._keep_planned(case))

    def leave(self, case: Case) -> None:
        """What was sent goes on; what was not is given up."""
        case.become(case.underway.after(Sign.LEFT))

    async def _at_once(self, case: Case) -> None:
        await self._plan(case)
        if case.underway.tier is not Tier.NONE:
            self.open(case)
        elif case.underway.reaches_nothing or case.underway.state is not State.PLANNED:
            self._cockpit.tell(_why_nothing(case), is_good=False)
            self.leave(case)
        else:
            self.confirm(case)

    async def _keep_planned(self, case: Case) -> None:
        """While somebody looks: what holds now may not hold when they say yes."""
        operation = case.underway.act.operation
        while case.watchers and case.underway.act.operation == operation:
            if case.underway.state not in (State.PLANNING, State.PLANNED):
                return
            await self._plan(case)
            await asyncio.sleep(PLAN_AGAIN_S)

    async def _plan(self, case: Case) -> None:
        act = case.underway.act
        client = self._client(act)
        if client is None:
            return case.become(case.underway, trouble="not connected")
        try:
            async with asyncio.timeout(PLAN_S):
                plan = await doing.plan(client, act)
        except PointsmanError as error:
            if error.status == doing.UNSURE:
                return case.become(case.underway, trouble=error.detail)
            case.fields = error.errors
            return case.become(case.underway.after(Sign.NOT_PLANNED, detail=error.detail))
        except (BusError, TimeoutError) as error:
            return case.become(case.underway, trouble=f"no plan yet: {error or 'no answer'}")
        if case.underway.act.operation == act.operation:
            case.become(case.underway.with_plan(plan))
        return None

    async def _send(self, case: Case) -> None:
        """Until there is an answer, for two minutes; each time under the same name."""
        end, wait_s = monotonic() + PATIENCE_S, SEND_AGAIN_S
        while True:
            try:
                outcome = await self._sent(case.underway.act)
            except doing.Conflict as error:
                return self._ended(case, case.underway.after(Sign.CONFLICTED, detail=str(error)))
            except doing.Refusal as error:
                case.fields = error.fields
                return self._ended(case, case.underway.after(Sign.REFUSED, detail=str(error)))
            except doing.Silence as error:
                case.become(case.underway.after(Sign.SILENT, detail=str(error)))
                if monotonic() > end:
                    return self._cockpit.tell(
                        f"{case.underway.act.verb}: not known whether it was done; see Events", is_good=False
                    )
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, SEND_AGAIN_MAX_S)
                case.become(case.underway.again())
            else:
                return self._ended(case, case.underway.answered(outcome))

    async def _sent(self, act: Act) -> Outcome:
        client = self._client(act)
        if client is None:
            raise doing.Silence("not connected")
        return await doing.send(client, act)

    def _ended(self, case: Case, underway: Underway) -> None:
        was_watched = bool(case.watchers)
        case.become(underway)
        outcome = underway.outcome
        if outcome is None:
            if not was_watched:
                self._cockpit.tell(f"{underway.act.verb}: {underway.detail}", is_good=False)
            return
        if outcome.undo is not None:
            self.undoable = Undoable(*outcome.undo, until=monotonic() + UNDO_S)
        skipped = f", {len(outcome.skipped)} not" if outcome.skipped else ""
        self._cockpit.tell(outcome.text + skipped, is_good=not outcome.skipped)
        if outcome.job:
            self._cockpit.work(self._follow(case, outcome.job))

    async def _follow(self, case: Case, job_id: str) -> None:
        """A job of the system: it ends whether or not anybody looks."""
        silent = 0
        while silent < JOB_SILENCE_MAX:
            client = self._client(case.underway.act)
            try:
                if client is None:
                    raise doing.Silence("not connected")
                async with asyncio.timeout(PLAN_S):
                    case.job = await doing.job(client, job_id)
                silent = 0
            except (PointsmanError, BusError, TimeoutError, doing.Silence):
                silent += 1
            case.told()
            if case.job is not None and case.job.status != "RUNNING":
                self._cockpit.tell(job_text(case.job), is_good=case.job.status == "DONE" and not case.job.failed)
                return
            await asyncio.sleep(JOB_LOOK_S)

    def _client(self, act: Act) -> Client | None:
        """Under the act's own name, so that its line on Events can be found."""
        client = self._cockpit.client
        if client is None:
            return None
        roles = (Role.OPERATOR, Role.ADMIN)
        return Client(client.bus, Actor(sub=self._cockpit.actor, roles=roles, request_id=act.operation))


def _why_nothing(case: Case) -> str:
    underway = case.underway
    if underway.plan is not None and underway.plan.refusals:
        return underway.plan.refusals[0]
    return underway.detail or case.trouble or "nothing to do"
