"""The host's replay: stacks, returns and priorities against lists of whole episodes."""

import numpy as np
import pytest

from plasticity_jax.learners.atari import replay as replays
from plasticity_jax.learners.atari.replay import FrameReplay
from plasticity_jax.learners.atari.sampling import Prioritized, SumTree, Uniform

DISCOUNT = 0.9


@pytest.fixture(autouse=True)
def small_frames(monkeypatch):
    monkeypatch.setattr(replays, "FRAME_SHAPE", (2, 3))
    monkeypatch.setattr(replays, "PART", 8)


def steps(num_envs, count, seed=0):
    """Random steps: (frame, action, reward, terminal, last), each [E, ...]; lives are
    lost (terminal alone), episodes end (both) and are cut off (last alone)."""
    chance = np.random.default_rng(seed)
    for _ in range(count):
        kind = chance.choice(4, num_envs, p=[0.8, 0.07, 0.07, 0.06])
        yield (
            chance.integers(1, 255, (num_envs, 2, 3)).astype(np.uint8),
            chance.integers(0, 4, num_envs),
            chance.integers(-1, 2, num_envs).astype(np.float32),
            np.isin(kind, [1, 2]),
            np.isin(kind, [2, 3]),
        )


def filled(num_envs=2, capacity=60, count=75, horizon=3, seed=0):
    memory = FrameReplay(capacity, num_envs, horizon=horizon, discount=DISCOUNT)
    history = list(steps(num_envs, count, seed))
    for step in history:
        memory.add(*step)
    return memory, history


def expected(history, lane, time, horizon):
    """The transition from a step of the whole history; None where there is none."""

    def stack(time):
        frames, back = [], time
        while len(frames) < 4:
            frames.append(history[back][0][lane])
            back -= 1
            if back < 0 or history[back][4][lane]:
                break
        empty = [np.zeros((2, 3), np.uint8)] * (4 - len(frames))
        return np.stack([*empty, *frames[::-1]])

    total, discount = 0.0, 1.0
    for ahead in range(time, time + horizon):
        _, _, reward, terminal, last = (part[lane] for part in history[ahead])
        total += discount * reward
        discount *= DISCOUNT
        if terminal:
            return stack(time), history[time][1][lane], total, 0.0, None
        if last:
            return None
    after = stack(time + horizon)
    return stack(time), history[time][1][lane], total, discount, after


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize(("num_envs", "count"), [(1, 40), (2, 75), (3, 200)])
def test_transitions_are_those_of_the_history(num_envs, count, horizon):
    memory, history = filled(num_envs, 20 * num_envs, count, horizon, seed=count)
    drawable = memory.drawable
    assert drawable.stop == count - horizon and len(drawable) == 20 - 3 - horizon
    found = 0
    for lane in range(num_envs):
        for time in drawable:
            where = np.array([lane]), np.array([time])
            wanted = expected(history, lane, time, horizon)
            assert memory.is_whole(*where)[0] == (wanted is not None)
            if wanted is None:
                continue
            got = memory.draw(*where)
            np.testing.assert_array_equal(got.frames_tm1[0], wanted[0])
            assert got.a_tm1[0] == wanted[1]
            np.testing.assert_allclose(got.r_t[0], wanted[2], rtol=1e-6)
            np.testing.assert_allclose(got.discount_t[0], wanted[3], rtol=1e-6)
            if wanted[4] is not None:
                np.testing.assert_array_equal(got.frames_t[0], wanted[4])
            found += 1
    assert found > len(drawable) // 2
    assert got.r_t.dtype == got.discount_t.dtype == np.float32


def test_before_the_ring_is_full_the_first_step_can_be_drawn():
    memory, _ = filled(1, 50, 10, horizon=2)
    assert memory.drawable == range(8)
    empty = FrameReplay(50, 1, horizon=2, discount=DISCOUNT)
    assert len(empty.drawable) == 0


def test_the_stacks_to_act_on_are_those_that_will_be_drawn():
    memory, _ = filled(2, 60, 0)
    for step in steps(2, 90, seed=5):
        if memory.count:
            acted_on = memory.newest_stacks(step[0])
        memory.add(*step)
        if memory.count > 1:
            newest = np.full(2, memory.count - 1)
            stacks = memory.stacks(np.arange(2), newest)
            np.testing.assert_array_equal(stacks, acted_on)


def arrays(saved):
    """A saved replay as records give it back, its parts as arrays."""
    return saved | {"frames": {n: part.make() for n, part in saved["frames"].items()}}


@pytest.mark.parametrize("count", [5, 16, 29, 30, 75, 170])
def test_a_saved_replay_goes_on_as_it_was(count):
    memory, _ = filled(2, 60, count)
    other = FrameReplay(60, 2, horizon=3, discount=DISCOUNT)
    other.load(arrays(memory.save()))
    for step in [(), *steps(2, 20, seed=9)]:
        if step:
            memory.add(*step)
            other.add(*step)
        assert other.drawable == memory.drawable
        lanes, times = np.meshgrid([0, 1], memory.drawable)
        for a, b in zip(
            memory.draw(lanes.ravel(), times.ravel()),
            other.draw(lanes.ravel(), times.ravel()),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


def test_a_part_is_the_same_whenever_it_is_saved():
    memory = FrameReplay(60, 2, horizon=1, discount=DISCOUNT)
    seen = {}
    for step in steps(2, 100):
        memory.add(*step)
        oldest = max(0, memory.count - memory.length)
        for start, part in memory.save()["frames"].items():
            if int(start) >= oldest:
                array = part.make()
                np.testing.assert_array_equal(seen.setdefault(part.name, array), array)
    assert len(seen) == 100 // replays.PART


@pytest.mark.parametrize(("capacity", "message"), [(61, "multiple of"), (8, "12")])
def test_a_capacity_that_cannot_work_is_refused(capacity, message):
    with pytest.raises(ValueError, match=f"replay_capacity: .*{message}"):
        FrameReplay(capacity, 2, horizon=1, discount=DISCOUNT)


# Which steps are drawn.


def test_uniform_draws_every_whole_step_alike():
    memory, _ = filled(2, 60, 75)
    drawn = Uniform(memory).draw(40_000, np.random.default_rng(0))
    assert memory.is_whole(drawn.lanes, drawn.times).all()
    lanes, times = (x.ravel() for x in np.meshgrid([0, 1], memory.drawable))
    whole = memory.is_whole(lanes, times)
    counts = np.array(
        [
            ((drawn.lanes == lane) & (drawn.times == time)).sum()
            for lane, time in zip(lanes, times, strict=True)
        ]
    )
    assert (counts[~whole] == 0).all()
    mean = 40_000 / whole.sum()
    assert (abs(counts[whole] - mean) < 5 * np.sqrt(mean)).all()
    assert (drawn.weights == 1).all()


def test_priorities_follow_the_ring():
    memory = FrameReplay(60, 2, horizon=3, discount=DISCOUNT)
    sampler, chance = Prioritized(memory), np.random.default_rng(1)
    known = {}
    for number, step in enumerate(steps(2, 120)):
        memory.add(*step)
        sampler.added()
        newest = memory.drawable.stop - 1
        if newest >= 0:
            for lane in range(2):
                whole = memory.is_whole(np.array([lane]), np.array([newest]))[0]
                known[lane, newest] = sampler.largest * whole
        if number > 20 and number % 3 == 0:
            drawn = sampler.draw(4, chance)
            losses = chance.random(4).astype(np.float32) * 4
            sampler.update(drawn, losses)
            for lane, time, loss in zip(drawn.lanes, drawn.times, losses, strict=True):
                known[int(lane), int(time)] = np.sqrt(np.float64(loss) + 1e-10)
        there = {key: p for key, p in known.items() if key[1] in memory.drawable}
        lanes, times = np.array(list(there), int).reshape(-1, 2).T
        places = sampler._places(lanes, times)
        np.testing.assert_allclose(sampler.tree.get(places), list(there.values()))
        np.testing.assert_allclose(sampler.tree.total, sum(there.values()))
    assert sampler.largest > 1


def test_prioritized_draws_in_proportion_and_weighs_against_it():
    memory, _ = filled(1, 40, 30, horizon=1)
    sampler = Prioritized(memory)
    chosen = [t for t in memory.drawable if memory.is_whole(*np.array([[0], [t]]))[0]]
    chosen = np.array(chosen[:4])
    sampler.tree.set(chosen, np.array([1.0, 2.0, 3.0, 4.0]))
    drawn = sampler.draw(10_000, np.random.default_rng(0))
    share = [(drawn.times == time).mean() for time in chosen]
    np.testing.assert_allclose(share, [0.1, 0.2, 0.3, 0.4], atol=1e-3)  # stratified
    weights = [drawn.weights[drawn.times == time][0] for time in chosen]
    np.testing.assert_allclose(weights, 1 / np.sqrt([1, 2, 3, 4]), rtol=1e-6)
    other = Prioritized(memory)
    other.load(sampler.save())
    assert other.tree.total == sampler.tree.total


@pytest.mark.parametrize("size", [1, 2, 5, 64, 100])
def test_a_sum_tree_finds_what_a_scan_finds(size):
    chance = np.random.default_rng(size)
    tree, values = SumTree(size), np.zeros(size)
    for _ in range(20):
        places = chance.integers(0, size, 7)
        new = chance.integers(0, 4, 7).astype(float)
        tree.set(places, new)
        values[places] = new
        np.testing.assert_array_equal(tree.leaves, values)
        assert tree.total == values.sum()
        if values.any():
            sums = chance.random(50) * tree.total
            wanted = np.searchsorted(np.cumsum(values), sums, side="right")
            np.testing.assert_array_equal(tree.find(sums), wanted)
    if values.any():
        assert values[tree.find(np.array([tree.total, 2 * tree.total]))].all()


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_a_priority_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="priorities: expected finite numbers"):
        SumTree(4).set(np.array([1]), np.array([bad]))
