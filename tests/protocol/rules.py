"""What makes the protocol safe, one switch each: all on is the protocol, one off must show why it is there."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Rules:
    """The safeguards. The docstring of each action in `world.py` says where it stands in the code."""

    tasks_compared: bool = True
    """A record in `tasks` is only written over the revision that was read."""
    leases_compared: bool = True
    """A record in `leases` is only written over the revision that was read."""
    written_first: bool = True
    """An attempt is handed over only when its lease is acknowledged."""
    leads_after_write: bool = True
    """The leader asks itself once more whether it leads, after the lease write and before the hand-over."""
    knows_before_pick: bool = True
    """A new leader reads `tasks` and `leases` up to their last sequences before its first pick."""
    start_by: bool = True
    """An executor does not start an attempt after its `start_by`."""
    lingers: bool = True
    """An attempt that is taken from its executor keeps its slot until its server is known not to run it."""
    writes_again: bool = True
    """After a broker crash the leader writes again the leases that are missing."""
    looks_again: bool = True
    """A terminal outcome that is no success is written only while its attempt is still the current one."""
    generation_in_token: bool = True
    """A report counts only for the generation its token names."""
    unknown_attempt_lingers: bool = True
    """A terminal record that was decided without knowing of the running attempt leaves that attempt its slot."""
    folds_lingering: bool = True
    """A leader that did not see an attempt end takes what lingers from the lease."""
    renewed_keeps_lingering: bool = True
    """A retry by hand carries what still lingers into the record of the next generation."""
    later_lease_kept: bool = True
    """A lease of a later generation than the record at hand is kept until that record comes."""
    release_waits: bool = True
    """`not running there` frees a slot only when the attempt can no longer start."""
    older_lease_overwritten: bool = True
    """After a broker crash a lease that came back in an older version is written again too."""
    withdrawal_frees: bool = True
    """A lease that could not be written gives its reservation back, whatever became of the task meanwhile."""


@dataclass(frozen=True, slots=True)
class Windows:
    """What is documented as not closed; all off for the proof, each can be opened to see what it costs."""

    before_socket: bool = False
    """A pause between the check of `start_by` and the write to the socket (DESIGN.md §4, Slots)."""
    before_commit: bool = False
    """A pause between the second look at the lease and the terminal write (DESIGN.md §4, Fencing)."""
    loss_and_new_leader: bool = False
    """The broker loses a lease, and the one leader that knows it is gone before it has written it again."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may happen; all else is every order of it."""

    tasks: int = 2
    servers: int = 1
    limit: int = 1
    attempts: int = 2
    epochs: int = 2
    generations: int = 1
    crashes: int = 1
    losses: int = 1
    cancels: int = 1


SAFEGUARDS = tuple(field.name for field in fields(Rules))
WINDOWS = tuple(field.name for field in fields(Windows))
