"""Services that answer a cockpit as a test tells them to, over a bus in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import msgspec

from pointsman.client.bus import Message
from pointsman.contracts.base import encode
from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.subjects import HEADER_ERROR_CODE, verb
from tests.support.fake_bus import FakeBroker, FakeBus

type Answer = Callable[[Any], msgspec.Struct | Awaitable[msgspec.Struct]]


class Answers:
    """`on("task", "get", lambda request: task)`; what raises PointsmanError is refused. `asked` keeps all requests."""

    def __init__(self) -> None:
        self.broker = FakeBroker(monotonic)
        self.bus: FakeBus = self.broker.connect("cockpit")
        self._services = self.broker.connect("services")
        self._given: dict[str, Answer] = {}
        self.asked: list[tuple[str, Any]] = []

    async def on(self, service: str, name: str, answer: Answer) -> None:
        """The last one given answers."""
        subject = verb(service, name)
        if subject not in self._given:
            await self._services.subscribe(subject, self._serve)
        self._given[subject] = answer

    async def tell(self, subject: str, message: msgspec.Struct) -> None:
        await self._services.publish(subject, encode(message))

    def requests(self, service: str, name: str) -> list[Any]:
        return [request for subject, request in self.asked if subject == verb(service, name)]

    async def _serve(self, message: Message) -> None:
        request = msgspec.json.decode(message.data)
        self.asked.append((message.subject, request))
        try:
            answer = self._given[message.subject](request)
            if asyncio.iscoroutine(answer):
                answer = await answer
        except PointsmanError as error:
            data = encode(error.problem())
            await self._services.publish(message.reply, data, {HEADER_ERROR_CODE: str(error.status)})
            return
        await self._services.publish(message.reply, encode(answer))  # type: ignore[arg-type]
