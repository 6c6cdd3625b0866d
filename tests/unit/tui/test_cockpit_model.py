"""What the cockpit knows, folded from frames in whatever order they come."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.contracts.frames import Frame, News, decode_frame, encode_frame
from pointsman.contracts.server import HealthState
from pointsman.tui.model import Folded, Model, whole_frame
from tests.support.cockpit_world import World


def told(frames: int = 6, *, epoch: int = 1, seed: int = 7) -> tuple[list[Frame], list[Frame]]:
    """Deltas of a small world in which servers come, change and go, and the whole frame after each."""
    world = World(servers=5, seed=seed, epoch=epoch)
    deltas, wholes = [], [world.whole()]
    for number in range(frames):
        match number % 3:
            case 0:
                deltas.append(world.step(2))
            case 1:
                name = next(iter(world.rows))
                world.change(name, state=HealthState.UNHEALTHY, failures=number)
                deltas.append(world.tell(name, news=(News(at=number, kind="server", subject=name, what="down"),)))
            case _:
                deltas.append(world.tell(gone=(next(iter(world.rows)),)))
        wholes.append(world.whole())
    return deltas, wholes


def state_of(model: Model) -> tuple[object, ...]:
    rows = {name: server.row for name, server in model.servers.items()}
    pulses = {name: server.pulse for name, server in model.servers.items()}
    return (model.epoch, model.seq, model.at, model.flow, rows, pulses, model.pools, model.alerts)


def state_after(frame: Frame) -> tuple[object, ...]:
    model = Model()
    model.fold(frame)
    return state_of(model)


@settings(max_examples=300)
@given(st.data())
def test_any_order_of_deltas_and_snapshots_ends_in_the_state_of_a_whole_frame(data: st.DataObject) -> None:
    deltas, wholes = told()
    other_deltas, other_wholes = told(4, epoch=2, seed=8)
    by_place = {(frame.epoch, frame.seq): state_after(frame) for frame in wholes + other_wholes}
    mixed = data.draw(st.lists(st.sampled_from(deltas + wholes + other_deltas + other_wholes), max_size=30))
    model = Model()
    for frame in mixed:
        model.fold(frame)
        if not model.wants_snapshot:
            assert state_of(model) == by_place[(model.epoch, model.seq)]
    while model.wants_snapshot:
        model.fold(other_wholes[-1])
    assert state_of(model) == by_place[(model.epoch, model.seq)]


def test_deltas_in_their_order_need_one_snapshot_alone() -> None:
    deltas, wholes = told()
    model = Model()
    assert model.wants_snapshot and not model.is_known
    model.fold(wholes[0])
    assert [model.fold(delta) for delta in deltas] == [Folded.APPLIED] * len(deltas)
    assert model.gaps == 0
    assert state_of(model) == state_after(wholes[-1])


def test_a_frame_in_which_servers_were_merely_checked_is_told_from_one_in_which_something_happened() -> None:
    world, model = World(servers=5), Model()
    model.fold(world.whole())
    assert [model.fold(world.age()) for _ in range(3)] == [Folded.AGED] * 3
    assert state_of(model) == state_after(world.whole())
    world.change("srv-0001", state=HealthState.UNHEALTHY)
    assert model.fold(world.tell("srv-0001")) is Folded.APPLIED
    assert model.fold(world.step(1)) is Folded.APPLIED
    assert model.fold(world.age()) is Folded.AGED


def test_a_lost_frame_is_noticed_and_repaired_by_a_snapshot_that_is_older_than_what_came_since() -> None:
    deltas, wholes = told()
    model = Model()
    model.fold(wholes[0])
    model.fold(deltas[0])
    assert model.fold(deltas[2]) is Folded.GAP
    assert model.wants_snapshot and model.gaps == 1
    model.fold(deltas[3])
    model.fold(wholes[3])
    assert not model.wants_snapshot
    assert state_of(model) == state_after(wholes[4])


def test_what_is_shown_stays_live_while_a_snapshot_is_awaited() -> None:
    deltas, wholes = told()
    model = Model()
    model.fold(wholes[0])
    model.fold(deltas[3])
    assert model.at == deltas[3].at
    assert model.flow == deltas[3].flow


def test_a_new_epoch_asks_for_a_snapshot() -> None:
    _, wholes = told()
    others, other_wholes = told(epoch=2, seed=8)
    model = Model()
    model.fold(wholes[0])
    assert model.fold(others[0]) is Folded.GAP
    model.fold(other_wholes[1])
    assert state_of(model) == state_after(other_wholes[1])


def test_frames_that_came_before_the_snapshot_are_dropped() -> None:
    deltas, wholes = told()
    model = Model()
    model.fold(deltas[0])
    model.fold(deltas[1])
    assert not model.is_known and not model.servers
    model.fold(wholes[2])
    assert model.fold(deltas[1]) is Folded.OLD
    assert state_of(model) == state_after(wholes[2])


def test_a_row_is_drawn_anew_only_when_something_of_it_was_told() -> None:
    world = World(servers=3)
    model = Model()
    model.fold(world.whole())
    versions = {name: server.version for name, server in model.servers.items()}
    world.change("srv-0002", weight=50)
    model.fold(world.tell("srv-0002"))
    changed = {name for name, server in model.servers.items() if server.version != versions[name]}
    assert changed == {"srv-0002"}


def test_news_that_a_snapshot_tells_again_stand_there_once() -> None:
    deltas, wholes = told()
    model = Model()
    model.fold(wholes[0])
    model.fold(deltas[0])
    model.fold(deltas[1])
    model.fold(deltas[3])
    again = wholes[-1]
    model.fold(Frame(**{name: getattr(again, name) for name in again.__struct_fields__} | {"news": deltas[1].news}))
    assert len(model.news) == 1


def test_the_model_as_a_keyframe_is_the_model_with_the_ages_of_by_then() -> None:
    world = World(servers=5)
    model = Model()
    model.fold(world.whole())
    for _ in range(10):
        model.fold(world.step(changed=0))
    again = Model()
    again.fold(decode_frame(encode_frame(whole_frame(model))))
    assert state_of(again)[:4] == state_of(model)[:4]
    assert {name: server.row for name, server in again.servers.items()} == world.rows
    assert model.at is not None
    for name, server in model.servers.items():
        assert again.servers[name].beat_ms(model.at) == server.beat_ms(model.at) == world.pulses[name].beat_ms + 2_000


def test_the_flow_of_each_second_is_kept_for_the_charts() -> None:
    world = World(servers=1)
    model = Model()
    model.fold(world.whole())
    frames = [world.step() for _ in range(50)]
    for frame in frames:
        model.fold(frame)
    assert len(model.flows) == 11
    assert model.flows[-1] == (frames[-1].at // 1000, frames[-1].flow)
