"""What follows from what happened to an attempt: pure transitions, and a task against a model."""

from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pointsman.contracts.base import NULL
from pointsman.contracts.lifecycle import Status, is_terminal
from pointsman.contracts.record import Lease, RetryPolicy, TaskRecord, TaskSpec
from pointsman.contracts.task import Choice
from pointsman.services.runtime import outcomes

NOW = 1_700_000_000_000


def a_task(**spec):
    fields = {"type": "resize", "deadline": NOW + 3_600_000, "max_attempts": 3, "timeout_ms": 60_000} | spec
    return TaskRecord(id="task_1", owner="ann", spec=TaskSpec(**fields), created_at=NOW, updated_at=NOW)


def a_lease(task, *, now=NOW, before=None, server="a"):
    deadline = min(now + task.spec.timeout_ms, task.spec.deadline)
    return outcomes.assign(before, task.generation, server_id=server, executor="x", epoch=1, now=now, deadline=deadline)


def settle(task, lease, outcome, *, now=NOW + 10):
    return outcomes.settle(task, lease, outcome, now=now, rng=Random(7))


def test_a_success_ends_the_task_with_its_result():
    task = a_task()
    done = settle(task, a_lease(task), outcomes.Succeeded(result=msgspec.Raw(b'{"a":1}'), http_status=200))
    assert done.status is Status.COMPLETED
    assert bytes(done.result) == b'{"a":1}'
    assert [a.outcome for a in done.attempts] == ["succeeded"]
    assert done.server_id == "a"


def test_a_failure_waits_for_its_backoff_and_spends_an_attempt():
    task = a_task()
    waiting = settle(task, a_lease(task), outcomes.Failed(error="boom", http_status=500))
    assert isinstance(waiting, Lease)
    assert waiting.spent == 1
    assert NOW + 10 + 500 <= waiting.run_at <= NOW + 10 + 1000


def test_the_last_failure_is_final():
    task = a_task(max_attempts=1)
    done = settle(task, a_lease(task), outcomes.Failed(error="boom", code="E1"))
    assert (done.status, done.error, done.error_code) == (Status.FAILED, "boom", "E1")
    endless = settle(task, a_lease(task), outcomes.Failed(error="e" * 5_000, code="c" * 5_000))
    assert (len(endless.error or ""), len(endless.error_code or "")) == (1_000, 256)


def test_a_lost_attempt_spends_nothing_and_runs_again_at_once():
    task = a_task()
    waiting = settle(task, a_lease(task), outcomes.Lost(reason="connection refused"))
    assert (waiting.spent, waiting.run_at, waiting.attempts[-1].outcome) == (0, NOW + 10, "lost")


def test_attempts_lost_in_a_row_wait_longer_and_longer():
    task, lease, waits, now = a_task(), None, [], NOW
    for _ in range(12):
        lease = settle(task, a_lease(task, before=lease, now=now), outcomes.Lost(reason="refused"), now=now)
        waits.append(lease.run_at - now)
        now = lease.run_at
    assert waits == sorted(waits)
    assert waits[0] == 0
    assert waits[-1] == outcomes.LOST_WAIT_MAX_MS


def test_an_attempt_that_may_still_run_keeps_its_slot_until_its_deadline():
    task = a_task()
    lease = a_lease(task)
    waiting = settle(task, lease, outcomes.Lost(reason="executor died", may_still_run=True))
    assert [(one.server_id, one.until) for one in waiting.lingering] == [("a", lease.current.deadline)]


def test_an_attempt_remembers_when_it_was_due_and_how_its_server_was_chosen():
    task = a_task()
    waiting = settle(task, a_lease(task), outcomes.Failed(error="boom"))
    choice = Choice(algorithm="response-time", among=3, avoided="a")
    again = outcomes.assign(
        waiting, 1, server_id="b", executor="x", epoch=1, now=NOW + 5_000, deadline=NOW + 60_000, choice=choice
    )
    done = settle(task, again, outcomes.Succeeded(), now=NOW + 6_000)
    assert [one.due_at for one in done.attempts] == [None, waiting.run_at]
    assert done.attempts[1].choice == choice


def test_late_answers_are_kept_once_each_and_five_at_most():
    lease = a_lease(a_task())
    for number in range(10):
        lease = outcomes.refuse(lease, number, "a", outcomes.Failed(error="x" * 5_000), NOW + number) or lease
        assert outcomes.refuse(lease, number, "a", outcomes.Failed(error="again"), NOW + 99) is None
    assert [one.number for one in lease.refused] == [0, 1, 2, 3, 4]
    assert len(lease.refused[0].error) == outcomes.ERROR_LENGTH_MAX


def test_a_retry_that_would_start_after_the_deadline_is_not_made():
    task = a_task(deadline=NOW + 20)
    done = settle(task, a_lease(task), outcomes.Failed(error="boom"))
    assert done.status is Status.FAILED


def test_retry_after_wins_over_the_backoff():
    task = a_task()
    waiting = settle(task, a_lease(task), outcomes.Failed(error="boom", retry_after_ms=42_000))
    assert waiting.run_at == NOW + 10 + 42_000


def test_cancelling_a_running_task_keeps_the_attempt_and_its_slot():
    task = a_task()
    done = outcomes.cancel(task, a_lease(task), "not needed", NOW + 5)
    assert done.status is Status.CANCELLED
    assert done.attempts[-1].outcome == "cancelled"
    assert done.lingering


def test_a_retry_by_hand_starts_a_fresh_generation_with_as_much_time():
    task = a_task(max_attempts=1)
    failed = settle(task, a_lease(task), outcomes.Failed(error="boom"))
    fresh = outcomes.renew(failed, NOW + 1_000_000, "r1")
    assert (fresh.status, fresh.generation, fresh.attempts) == (Status.PENDING, 2, ())
    assert fresh.spec.deadline == NOW + 1_000_000 + 3_600_000


def test_of_many_attempts_the_first_and_the_last_are_kept():
    task, lease = a_task(), None
    for _ in range(50):
        lease = settle(task, a_lease(task, before=lease), outcomes.Lost(reason="refused"))
    assert [a.number for a in lease.attempts] == [1, *range(32, 51)]


@given(
    base=st.integers(1, 10_000), cap=st.integers(1, 10**7), factor=st.floats(1, 10), jitter=st.floats(0, 1),
    failures=st.integers(1, 200), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_backoff_stays_between_its_jitter_and_its_cap(base, cap, factor, jitter, failures, seed):
    policy = RetryPolicy(base_ms=base, max_ms=cap, factor=factor, jitter=jitter)
    wait = outcomes.backoff_ms(policy, failures, Random(seed))
    full = min(cap, base * factor ** min(failures - 1, 64))
    assert full * (1 - jitter) - 1 <= wait <= full + 1


class TaskAgainstModel(RuleBasedStateMachine):
    """A task under any order of events behaves as a few plain counters say."""

    @initialize(max_attempts=st.integers(1, 4))
    def submit(self, max_attempts):
        self.now = NOW
        self.rng = Random(3)
        self.task = a_task(max_attempts=max_attempts, deadline=NOW + 50_000, timeout_ms=10_000)
        self.lease = None
        self.numbers = []
        self.spent = 0

    def running(self):
        return self.lease is not None and self.lease.current is not None

    def live(self):
        return not is_terminal(self.task.status)

    @rule(ms=st.integers(0, 5_000))
    def time_passes(self, ms):
        self.now += ms

    @precondition(lambda self: self.live() and not self.running() and self.now < self.task.spec.deadline)
    @rule(server=st.sampled_from("abc"))
    def assigned(self, server):
        self.lease = a_lease(self.task, now=self.now, before=self.lease, server=server)
        self.numbers.append(self.lease.current.number)

    @precondition(lambda self: self.live() and self.running())
    @rule(
        outcome=st.sampled_from(
            [
                outcomes.Succeeded(result=msgspec.Raw(b"1")),
                outcomes.Failed(error="x"),
                outcomes.Failed(error="x", final=True),
                outcomes.TimedOut(),
                outcomes.Lost(reason="x"),
                outcomes.Lost(reason="x", may_still_run=True),
            ]
        )
    )
    def ended(self, outcome):
        decided = outcomes.settle(self.task, self.lease, outcome, now=self.now, rng=self.rng)
        if isinstance(outcome, outcomes.Failed | outcomes.TimedOut):
            self.spent += 1
        if isinstance(decided, TaskRecord):
            self.task = decided
            expected = {
                outcomes.Succeeded: {Status.COMPLETED},
                outcomes.Failed: {Status.FAILED},
                outcomes.TimedOut: {Status.TIMEOUT},
                outcomes.Lost: {Status.TIMEOUT},
            }[type(outcome)]
            assert decided.status in expected
            self.lease = None
        else:
            assert not isinstance(outcome, outcomes.Succeeded)
            assert not (isinstance(outcome, outcomes.Failed) and outcome.final)
            assert decided.run_at >= self.now
            self.lease = decided

    @precondition(lambda self: self.live() and self.running())
    @rule(percent=st.floats(0, 100))
    def progressed(self, percent):
        number = self.lease.current.number
        self.lease = outcomes.progress(self.lease, percent, NULL, self.now)
        assert self.lease.current.number == number

    @precondition(lambda self: self.live() and self.running())
    @rule(ms=st.integers(0, 100_000))
    def extended(self, ms):
        before = self.lease.current.deadline
        self.lease = outcomes.extend(self.lease, self.now + ms, self.now)
        assert self.lease.current.deadline >= before

    @precondition(lambda self: self.live())
    @rule()
    def cancelled(self):
        was_running = self.running()
        self.task = outcomes.cancel(self.task, self.lease, None, self.now)
        assert self.task.status is Status.CANCELLED
        assert bool([a for a in self.task.attempts if a.outcome == "cancelled"]) == was_running
        self.lease = None

    @precondition(lambda self: self.task.status in (Status.FAILED, Status.TIMEOUT, Status.CANCELLED))
    @rule()
    def retried_by_hand(self):
        generation = self.task.generation
        self.task = outcomes.renew(self.task, self.now, "")
        assert self.task.generation == generation + 1
        self.lease, self.numbers, self.spent = None, [], 0

    @invariant()
    def attempt_numbers_only_grow(self):
        assert self.numbers == sorted(set(self.numbers))

    @invariant()
    def no_more_attempts_are_spent_than_allowed(self):
        assert self.spent <= self.task.spec.max_attempts
        if self.lease is not None:
            assert self.lease.spent == self.spent

    @invariant()
    def a_terminal_task_says_when_it_ended(self):
        if is_terminal(self.task.status):
            assert self.task.finished_at is not None
        else:
            assert self.task.finished_at is None

    @invariant()
    def records_survive_their_encoding(self):
        again = msgspec.json.decode(msgspec.json.encode(self.task), type=TaskRecord)
        assert msgspec.json.encode(again) == msgspec.json.encode(self.task)
        if self.lease is not None:
            again = msgspec.json.decode(msgspec.json.encode(self.lease), type=Lease)
            assert msgspec.json.encode(again) == msgspec.json.encode(self.lease)


TestTaskAgainstModel = TaskAgainstModel.TestCase
TestTaskAgainstModel.settings = settings(max_examples=150, stateful_step_count=30)
