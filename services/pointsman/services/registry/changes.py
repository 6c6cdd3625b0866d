"""What of a registered server may be changed while it runs: its weight, its limit, its priority."""

from msgspec.structs import replace

from pointsman.contracts.commands import ChangeServer
from pointsman.contracts.errors import invalid, not_found, unavailable
from pointsman.contracts.server import ServerChanged, ServerConfig, ServerPatch, Tuning
from pointsman.services.registry.fleet import Fleet
from pointsman.services.registry.guard import Guard, revision_of
from pointsman.services.registry.store import ROUNDS_MAX, ServerStore, Stored
from pointsman.services.registry.view import takes_tasks
from pointsman.services.runtime.kv import RevisionMoved


class Changes:
    def __init__(self, store: ServerStore, fleet: Fleet) -> None:
        self._store = store
        self._fleet = fleet

    async def change(self, command: ChangeServer, by: str, operation: str) -> ServerChanged:
        """The plan, or what was done; its health and what runs on it stay. Raises 400, 404, 412."""
        guard = Guard(command.if_match, operation)
        for _ in range(ROUNDS_MAX):
            config = await self._store.config(command.id)
            if config.value is None:
                raise not_found(f"server {command.id} does not exist")
            admin = await self._store.admin(command.id)
            wanted = patched(config.value, command.change, by)
            told = self._told(config, wanted, revision_of(config, admin))
            if guard.repeats(config):
                return told
            guard.check(command.id, config, admin)
            if command.change.dry_run:
                return replace(told, dry_run=True)
            if wanted == config.value:
                return told
            try:
                revision = await self._store.put_config(wanted, config.revision, operation)
            except RevisionMoved:
                continue
            return replace(told, revision=revision)
        raise unavailable(f"server {command.id} is being changed by others at this moment")

    def _told(self, config: Stored[ServerConfig], wanted: ServerConfig, revision: int) -> ServerChanged:
        before = config.value
        assert before is not None
        others = sum(
            one.weight
            for one, member in self._fleet.members()
            if one.pool == before.pool and one.id != before.id and takes_tasks(self._fleet, one, member)
        )
        running = self._fleet.running(before.id)
        return ServerChanged(
            server_id=before.id,
            dry_run=False,
            revision=revision,
            pool=before.pool,
            running=running,
            before=_tuning(before, others),
            after=_tuning(wanted, others),
            warnings=_warnings(wanted, running),
        )


def patched(config: ServerConfig, patch: ServerPatch, by: str) -> ServerConfig:
    """The configuration with what is given; itself when nothing would change. Raises 400 when nothing is given."""
    given = {"weight": patch.weight, "max_concurrent": patch.max_concurrent, "priority": patch.priority}
    named = {name: value for name, value in given.items() if value is not None}
    if not named:
        raise invalid("weight", "give at least one of weight, maxConcurrent and priority")
    wanted = replace(config, **named)
    return wanted if wanted == config else replace(wanted, by=by)


def _tuning(config: ServerConfig, others: int) -> Tuning:
    return Tuning(
        weight=config.weight,
        max_concurrent=config.max_concurrent,
        priority=config.priority,
        weight_share=round(config.weight / (others + config.weight), 6),
    )


def _warnings(wanted: ServerConfig, running: int) -> tuple[str, ...]:
    if running > wanted.max_concurrent:
        return (f"{running} tasks run: the limit of {wanted.max_concurrent} is reached as they end",)
    return ()
