"""The archive's schema: alembic writes the SQL, asyncpg runs it in one transaction, one process at a time."""

import asyncio
import io

import asyncpg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from pointsman.services.version import VERSION

LOCATION = "pointsman.services.history:migrations"
LOCK = 0x706F696E74736D61
CONNECT_TIMEOUT_S = 10.0
VERSION_TABLE = "alembic_version"


class UnknownTables(Exception):
    """The schema is of a revision that this version does not know."""


def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the schema to the newest or the given revision; does nothing when it is there already. Raises UnknownTables."""
    asyncio.run(_migrate(dsn, revision))


async def current(dsn: str) -> str | None:
    """The revision of the schema, None before the first migration."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        return await _current(connection)
    finally:
        await connection.close()


def knows(revision: str) -> bool:
    """Whether this version can bring tables of that revision to the newest."""
    return revision in {step.revision for step in _directory(Config()).walk_revisions()}


def newest() -> str | None:
    """The revision that this version works with."""
    return _directory(Config()).get_current_head()


def downgrade(dsn: str, revision: str) -> None:
    """Take the schema back to `revision`; `base` removes it with all that was archived."""
    asyncio.run(_migrate(dsn, revision, down=True))


async def _migrate(dsn: str, target: str, *, down: bool = False) -> None:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            revision = await _current(connection)
            if revision is not None and not knows(revision):
                raise UnknownTables(f"the tables are of revision {revision}, newer than version {VERSION} knows")
            script = _script(revision, target, down=down)
            if script:
                await connection.execute(script)
    finally:
        await connection.close()


async def _current(connection: "asyncpg.Connection[asyncpg.Record]") -> str | None:
    """The revision of the schema. The empty version table that a full downgrade leaves goes: alembic makes it anew."""
    if await connection.fetchval("SELECT to_regclass($1)", VERSION_TABLE) is None:
        return None
    revision: str | None = await connection.fetchval(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608
    if revision is None:
        await connection.execute(f"DROP TABLE {VERSION_TABLE}")
    return revision


def _script(current: str | None, target: str, *, down: bool) -> str:
    """The SQL from one revision to another, empty when there is nothing to do."""
    config, output = Config(), io.StringIO()
    directory = _directory(config)

    def steps(_revision: object, _context: object) -> list[object]:
        start = current or "base"
        return [*(directory._downgrade_revs(target, start) if down else directory._upgrade_revs(target, start))]

    environment = EnvironmentContext(config, directory, fn=steps, as_sql=True, starting_rev=current)
    environment.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},
        output_buffer=output,
        version_table=VERSION_TABLE,
    )
    environment.run_migrations()
    return output.getvalue()


def _directory(config: Config) -> ScriptDirectory:
    config.set_main_option("script_location", LOCATION)
    return ScriptDirectory.from_config(config)
