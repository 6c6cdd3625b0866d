"""Who holds which slot, and until when."""

from pointsman.services.balancer.slots import Slots


def test_a_held_slot_counts_until_it_is_freed() -> None:
    slots = Slots()
    slots.hold("a", "t/1/1")
    slots.hold("a", "t/1/1")
    slots.hold("a", "u/1/1")
    assert (slots.active("a"), slots.active("b"), slots.total(), slots.by_server()) == (2, 0, 2, {"a": 2})
    assert slots.free("a", "t/1/1")
    assert not slots.free("a", "t/1/1")
    assert not slots.free("b", "u/1/1")
    slots.free("a", "u/1/1")
    assert slots.by_server() == {}


def test_a_lingering_attempt_holds_its_slot_until_its_time_is_over() -> None:
    slots = Slots()
    slots.hold("a", "t/1/1")
    slots.linger("a", "t/1/1", 100, 200)
    assert (slots.active("a"), slots.expire(199), slots.active("a")) == (1, False, 1)
    assert (slots.expire(200), slots.active("a")) == (True, 0)


def test_only_what_lingers_is_freed_by_a_release() -> None:
    slots = Slots()
    slots.hold("a", "t/1/1")
    assert slots.free_lingering("t/1/1") is None
    slots.linger("a", "t/1/1", 100, 200)
    assert slots.free_lingering("t/1/1") == "a"
    assert slots.total() == 0


def test_expiry_leaves_running_attempts_alone() -> None:
    slots = Slots()
    slots.hold("a", "t/1/1")
    slots.linger("a", "u/1/1", 1, 2)
    assert slots.expire(10)
    assert slots.by_server() == {"a": 1}


def test_a_server_s_own_count_frees_what_can_no_longer_linger() -> None:
    slots = Slots()
    slots.hold("a", "t/1/1")
    for n in range(3):
        slots.linger("a", f"u{n}/1/1", 100, 1_000)
    assert not slots.reported("a", 3, 100)
    assert slots.reported("a", 1, 100)
    assert slots.active("a") == 2
    assert slots.reported("a", 0, 100)
    assert slots.by_server() == {"a": 1}


def test_a_count_from_before_an_attempt_could_start_says_nothing_of_it() -> None:
    slots = Slots()
    slots.linger("a", "t/1/1", 100, 1_000)
    assert not slots.reported("a", 0, 99)
    assert not slots.reported("b", 0, 200)
    assert slots.active("a") == 1
