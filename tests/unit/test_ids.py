"""Task ids sort by time and carry it."""

from uuid import UUID

import pytest

from pointsman.contracts.ids import created_at_ms, is_task_id, new_operation_id, new_server_id, new_task_id, uuid7_hex

NOW = 1_700_000_000_123


def test_a_task_id_is_a_uuid_of_version_7_that_carries_its_time() -> None:
    task_id = new_task_id(NOW)
    uuid = UUID(task_id.removeprefix("task_"))
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert created_at_ms(task_id) == NOW
    assert is_task_id(task_id)


def test_later_ids_sort_later() -> None:
    ids = [new_task_id(NOW + n) for n in range(100)]
    assert ids == sorted(ids)


@pytest.mark.parametrize("bits", [0, (1 << 74) - 1, 0x2AAAAAAAAAAAAAAAAAA])
def test_whatever_the_chance_version_and_time_stay(bits: int) -> None:
    uuid = UUID(uuid7_hex(NOW, bits))
    assert (uuid.version, uuid.int >> 80) == (7, NOW)


def test_ids_do_not_repeat() -> None:
    for make in (lambda: new_task_id(NOW), new_operation_id):
        assert len({make() for _ in range(10_000)}) == 10_000
    assert new_server_id() != new_server_id()


@pytest.mark.parametrize(
    "text",
    ["", "task_", "task_" + "g" * 32, "task_" + "0" * 31, "task_" + "0" * 32 + "\n", "TASK_" + "0" * 32, "a.b", ">"],
)
def test_what_only_looks_like_an_id_is_none(text: str) -> None:
    assert not is_task_id(text)
