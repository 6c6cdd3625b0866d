"""What one check of `pointsman doctor` found."""

import msgspec

SKEW_MAX_S = 2.0


class Finding(msgspec.Struct, frozen=True, rename="camel"):
    is_fine: bool
    text: str


def skew(name: str, theirs_s: float, asked_s: float, answered_s: float, *, exact_s: float = 0.0) -> Finding:
    """How far a clock that was read between two moments of ours is off, which it tells with steps of `exact_s`."""
    off_s = max(0.0, asked_s - exact_s - theirs_s, theirs_s - answered_s)
    return Finding(off_s <= SKEW_MAX_S, f"clock of {name} is {off_s:.1f} s off ours (at most {SKEW_MAX_S:.0f} s)")
