"""The last reports are kept, but not for everybody who ever asked."""

from pointsman.contracts.statistics import TypesStatistics
from pointsman.services.statistics.lasting import KEPT_MAX, Lasting, Question


def question(number: int) -> Question:
    return ("types", b"%d" % number, "2026-11-19")


def test_a_report_is_told_again_as_of_then_and_marked() -> None:
    lasting, report = Lasting(), TypesStatistics(types=(), total=0, as_of=7)
    assert lasting.keep(question(1), report) is report
    assert lasting.again(question(1)) == TypesStatistics(types=(), total=0, as_of=7, stale=True)
    assert lasting.again(question(2)) is None


def test_only_so_many_are_kept_those_asked_last() -> None:
    lasting = Lasting()
    for number in (*range(KEPT_MAX), 0, KEPT_MAX):
        lasting.keep(question(number), TypesStatistics(types=(), total=number, as_of=7))
    assert lasting.again(question(1)) is None
    assert [lasting.again(question(number)) is not None for number in (0, 2, KEPT_MAX)] == [True] * 3
