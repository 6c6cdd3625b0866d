"""How far the archive is."""

from pointsman.contracts.base import Message


class HistoryStatus(Message):
    """What `history.status` answers. `backlog` counts records not yet in Postgres, `lagMs` is the age of the oldest of them:
    null when the broker cannot say. `deadLetters` counts records set aside by all writers ever, null while Postgres is away;
    `trouble` says why it takes or tells nothing. The rest is of this writer since its start. `lastCommit` in ms."""

    connected: bool
    trouble: str | None = None
    backlog: int | None = None
    lag_ms: int | None = None
    dead_letters: int | None = None
    held: int = 0
    committed: int = 0
    buried: int = 0
    last_commit: int | None = None
    as_of: int = 0
