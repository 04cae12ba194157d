"""Hybrid actions by hand: rows and units, the replay, the values' target, whose gradients move the encoder, a known answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tianshou.utils.torch_utils import policy_within_training_step

import algorithms
from algorithms import settings
from algorithms.encoded import Bid
from algorithms.hybrid import Hybrid, Ring, following
from marl.errors import UserError
from marl.game import Column, Discrete, Role
from marl.replay import LaneBuffer
from marl.schedule import Schedule
from marl.team import seen
from marl.train import Run
from marl.vector import VectorGame
from tests.lanes import TABLES, Lanes, lanes, part_of, rows_of
from tests.payday import OBSERVATION, PAYDAY
from tests.riddles import BARGAIN, BEST_BARGAIN, BLIND_BARGAIN


def made(**given: Any) -> Hybrid:
    """For a Discrete column of 3, a bid on a log scale, a Discrete one of 2, a continuous one; masked."""
    torch.manual_seed(0)
    return Hybrid(settings.Hybrid(column="b", levels=5, hidden=[8], **given), part_of("hybrid", masked=True), 10)


def bargaining(**given: Any) -> Lanes:
    return lanes(VectorGame(BARGAIN, 8, n_agents=3), "hybrid", **given)


def test_levels_are_spread_over_the_columns_scale() -> None:
    assert Bid(TABLES["hybrid"], "b", 5).levels == pytest.approx([0.01, 0.1, 1.0, 10.0, 100.0])
    assert Bid(TABLES["hybrid"], "d", 3).levels == pytest.approx([2.0, 4.0, 6.0])
    assert Bid({"a": TABLES["hybrid"]["a"], "b": TABLES["hybrid"]["b"]}, None, 2).name == "b"


@pytest.mark.parametrize("learner", ["both", "values", "policy"])
def test_a_row_holds_the_policys_columns_then_the_level(learner: str) -> None:
    policy = made(learner=learner).policy
    raw = np.array([[2.0, 1.0, -0.5, 3.0]], np.float32)  # a, c, d, level of b
    assert policy.map_action(raw) == pytest.approx(np.array([[2.0, 10.0, 1.0, 3.0]]))
    rows = rows_of(part_of("hybrid", masked=True), 64)
    with torch.no_grad(), policy_within_training_step(policy):
        act = policy(seen(rows)).act
    assert act.shape == (64, 4)
    legal = rows[:, 2:].numpy() > 0.5
    assert legal[np.arange(64), act[:, 0].long()].all() and legal[np.arange(64), 3 + act[:, 1].long()].all()
    assert set(act[:, 3].tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}


@pytest.mark.parametrize("learner", ["both", "policy"])
def test_the_probability_is_that_of_the_policys_columns(learner: str) -> None:
    """The level is drawn from the policy only where the policy bids."""
    policy, rows = made(learner=learner).policy, rows_of(part_of("hybrid", masked=True), 6)
    with torch.no_grad():
        dist = policy.actor.distribution(policy.actor(rows)[0])
        act = policy(seen(rows)).act
        other = act.clone()
        other[:, 3] = (act[:, 3] + 1) % 5
        same = torch.equal(dist.log_prob(act), dist.log_prob(other))
    assert same == (learner == "both")
    assert len(dist.log_probs) == (2 if learner == "both" else 3)


def test_epsilon_falls_with_env_steps_collected() -> None:
    here = bargaining(epsilon_steps=100, epsilon_end=0.1, rollout=5)
    policy = here.team.learners["guesser"].policy
    assert policy.epsilon == 1.0
    here.collect(5)
    assert int(policy.acted) == 5 * 8 * 3
    assert policy.epsilon == pytest.approx(1.0 - 0.9 * 40 / 100)
    here.update()
    assert int(policy.acted) == 5 * 8 * 3


def test_the_ring_keeps_the_newest() -> None:
    ring = Ring(4, obs=(1,), reward=())
    for values in ([0.0, 1.0, 2.0], [3.0, 4.0], list(range(10, 17))):
        column = torch.tensor(values, dtype=torch.float32)
        ring.write(obs=column[:, None], reward=column)
        assert len(ring) == min(int(ring.written), 4)
        if values[0] == 3.0:
            assert sorted(ring.reward.tolist()) == [1.0, 2.0, 3.0, 4.0]
    assert sorted(ring.reward.tolist()) == [13.0, 14.0, 15.0, 16.0]
    drawn = ring.draw(100)
    assert torch.equal(drawn["obs"][:, 0], drawn["reward"])


def test_what_follows_a_row() -> None:
    """The next row of the lane, the tail after the last; where an episode was cut short, the observation it ended with."""
    buffer = LaneBuffer(1, 2, 3, 1, 1, fields=(), keep_next=False, seed=0)
    for t in range(3):
        values = {"obs": np.array([[[t]], [[10 + t]]]), "act": np.zeros((2, 1, 1)), "rew": np.zeros((2, 1))}
        cut = np.zeros((3, 2, 1), bool)
        cut[1:, 1] = t == 1
        buffer.write(values, cut, None)
        if t == 1:
            buffer.write_cut(cut[1], np.array([[[99]], [[77]]]))
    buffer.write_tail(np.array([[[3]], [[13]]]))
    assert following(buffer)[:, 0].tolist() == [1, 2, 3, 11, 77, 13]


def test_the_values_target_by_hand() -> None:
    """One row that goes on and one that does not; the online network picks the level, the target network values it."""
    learner = made(gamma=0.5, double=True)
    rows = rows_of(part_of("hybrid", masked=True), 2)
    now = {"reward": torch.tensor([1.0, 2.0]), "follows": torch.tensor([1.0, 0.0]), "after": rows}
    with torch.no_grad():
        learner.policy.values.net[-1].bias.copy_(torch.tensor([0.0, 0.0, 9.0, 0.0, 0.0]))
        learner.values_old.module.net[-1].bias.copy_(torch.tensor([4.0, 5.0, 6.0, 7.0, 8.0]))
        for net in (learner.policy.values.net, learner.values_old.module.net):
            net[-1].weight.zero_()
    assert learner._targets(rows, now).tolist() == pytest.approx([1.0 + 0.5 * 6.0, 2.0])
    learner.s.double = False
    assert learner._targets(rows, now).tolist() == pytest.approx([1.0 + 0.5 * 8.0, 2.0])


@pytest.mark.parametrize(("route", "by_policy", "by_values"), [("both", True, True), ("policy", True, False), ("values", False, True)])
def test_whose_gradients_move_the_encoder(route: str, by_policy: bool, by_values: bool) -> None:
    here = bargaining(route=route, lr=1e-2, anneal=False)
    learner: Any = here.team.learners["guesser"]
    here.collect(4)
    batch, index = here.buffers["guesser"].sample(0)
    batch = learner._preprocess_batch(batch, here.buffers["guesser"], index)

    def moved(act: Any) -> bool:
        before = [p.clone() for p in learner.policy.actor.encoder.parameters()]
        act()
        return any(not torch.equal(a, b) for a, b in zip(before, learner.policy.actor.encoder.parameters()))

    learner.s.value_updates = 0
    with policy_within_training_step(learner.policy), learner.policy.judging():
        assert moved(lambda: super(Hybrid, learner)._update_with_batch(batch, None, 1)) == by_policy
    assert moved(learner._value_step) == by_values


def test_observations_are_normalised_once_under_all_heads() -> None:
    """The encoder's layers and the target network's look through one sight; the heads read what the encoder gives."""
    here = bargaining(normalise_observations=True)
    learner: Any = here.team.learners["guesser"]
    hooked = {module for module in learner.modules() if module._forward_pre_hooks}
    assert hooked == {learner.policy.actor.encoder.layers, learner.values_old.module.encoder.layers}
    for _ in range(2):
        here.collect(4)
        here.update()
    assert float(learner.policy.sight.scale[0]) == pytest.approx(2 / np.sqrt(12), rel=0.2)


SHIFTS = replace(PAYDAY, roles=lambda p: (Role("worker", p.n_agents, OBSERVATION, {"effort": Column(-1, 1), "shift": Discrete(2)}),))
KINDS = ["gru", "lstm", "attention"]


def remembering(memory: str, **given: Any) -> tuple[Lanes, Any, Any]:
    """(lanes, learner, buffer) after two rollouts of six in slices of three, episodes being of four ticks; one worker leaves."""
    copies = VectorGame(SHIFTS, 3, n_agents=3, horizon=4, end="truncated", leave=2, ghost=50.0)
    sizes = {"rollout": 6, "sequence": 3, "memory_width": 5, "memory_length": 2, "hidden": [8], "anneal": False}
    here = lanes(copies, "hybrid", memory=memory, **{**sizes, **given})
    (learner,), (buffer,) = here.team.learners.values(), here.buffers.values()
    for p in learner.parameters():
        p.data += 0.5 * torch.randn_like(p)
    here.collect(6)
    here.collect(6)
    return here, learner, buffer


@pytest.mark.parametrize("memory", KINDS)
def test_what_an_update_unrolls_is_what_was_collected(memory: str) -> None:
    """log pi(d | x) and V(x), through episodes that end within slices, and by the slices of the values' replay as well."""
    _, learner, buffer = remembering(memory)
    batch = learner._preprocess_batch(*buffer.sample(0)[:1], buffer, buffer.sample_indices(0))
    kept = np.flatnonzero(buffer.alive)
    assert 0 < len(kept) < len(buffer)
    with torch.no_grad(), learner.policy.judging():
        assert (learner.policy(batch).dist.log_prob(batch.act) - batch.logp_old).abs().max() < 1e-5
        assert learner.critic(batch.obs).flatten().numpy() == pytest.approx(buffer.recorded["value"][kept], abs=1e-5)
    written = int(learner.ring.written)
    assert written == buffer.alive.reshape(-1, 3).any(1).sum()
    learner.ring.draw = lambda count: {name: getattr(learner.ring, name)[:written] for name in learner.ring._names}
    slices, rows = learner._drawn()
    assert rows["act"].numpy() == pytest.approx(buffer.act[kept]) and rows["reward"].max() < 50.0
    with torch.no_grad():
        assert torch.allclose(learner.critic(slices), learner.critic(batch.obs), atol=1e-6)


@pytest.mark.parametrize("memory", KINDS)
def test_the_values_target_looks_one_tick_on_from_the_state_after_a_row(memory: str) -> None:
    """By stepping every lane through what it saw, with the parameters of both networks."""
    _, learner, buffer = remembering(memory, gamma=0.5)
    learner._preprocess_batch(*buffer.sample(0)[:1], buffer, buffer.sample_indices(0))
    written = int(learner.ring.written)
    drawn = {name: getattr(learner.ring, name)[:written] for name in learner.ring._names}
    learner.ring.draw = lambda count: dict(drawn)
    slices, rows = learner._drawn()
    assert 0 < (rows["follows"] == 0).sum() <= 6  # of the worker who leaves; every other end is the time limit's
    online, old = learner.policy.actor.encoder, learner.values_old.module.encoder
    with torch.no_grad():
        old.layers[0].get_parameter("0.weight").mul_(1.5)  # another network than the one that learns
        torch.manual_seed(7)
        found = learner._targets(slices, rows)
        ahead: dict[Any, list[torch.Tensor]] = {online: [], old: []}
        for m in range(written):
            for net, xs in ahead.items():
                state = drawn["state"][m : m + 1]
                for t in range(3):
                    state = torch.zeros_like(state) if drawn["reset"][m, t] else state
                    state = net.step(drawn["obs"][m, t : t + 1], state)[1]
                    if drawn["alive"][m, t]:
                        xs.append(net.step(drawn["after"][m, t : t + 1], state)[0])
        x, x_old = torch.cat(ahead[online]), torch.cat(ahead[old])
        torch.manual_seed(7)
        chosen = learner.policy.actor.distribution(learner.policy.actor.of(x, rows["after"])).sample()
        level = learner.policy.values.of(x, chosen).argmax(1, keepdim=True)
        worth = learner.values_old.module.of(x_old, chosen).gather(1, level).squeeze(1)
    assert found.tolist() == pytest.approx((rows["reward"] + 0.5 * rows["follows"] * worth).tolist(), abs=1e-4)


@pytest.mark.parametrize("memory", KINDS)
def test_both_losses_move_the_memory(memory: str) -> None:
    here, learner, _ = remembering(memory, lr=1e-2)
    own = learner.policy.actor.encoder.memory
    for steps in (0, 4):
        learner.s.value_updates, learner.s.learner = max(steps, 1), "values" if steps else "policy"
        before = [p.clone() for p in own.parameters()]
        here.update()
        assert all(bool((a != b).any()) for a, b in zip(before, own.parameters()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"column": None}, "algorithm.column is not given: legal are b, d, the one that values choose"),
        ({"column": "a"}, "algorithm.column = 'a': legal are the continuous columns b, d"),
        ({"hidden": []}, "algorithm.hidden = []: at least one layer is needed, the encoder"),
        ({"critic_hidden": [8]}, "algorithm.critic_hidden = [8]: legal is none, the critic stands on the shared encoder"),
        ({"route": "policy", "learner": "values"}, "algorithm.route = 'policy' with algorithm.learner = 'values': legal are both, values"),
    ],
)
def test_what_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        Hybrid(settings.Hybrid(**{"column": "b", **given}), part_of("hybrid"), 10)
    assert str(error.value) == message


@pytest.mark.slow
@pytest.mark.parametrize("memory", [*KINDS, "none"])
def test_a_bargain_after_a_delay_needs_memory(memory: str, tmp_path: Path) -> None:
    """What is best is seen two ticks before: 3/4 with memory, 5/12 without."""
    won = bargained(tmp_path, 0, 120_000, {"delay": 2}, memory=memory, rollout=18, sequence=9, memory_width=32)
    print(f"hybrid, memory {memory}: {won:.4f}, best {BEST_BARGAIN:.4f}, blind {BLIND_BARGAIN:.4f}")
    assert won < BLIND_BARGAIN + 0.03 if memory == "none" else won > BEST_BARGAIN - 0.03


def bargained(folder: Path, seed: int, steps: int, game: dict[str, Any], **given: Any) -> float:
    """The mean over 2,048 episodes of a trained hybrid, its best policies."""
    torch.set_num_threads(1)
    run = Run(
        lambda stage, n: VectorGame(BARGAIN, n, **game),
        algorithms.load("hybrid"),
        settings.Hybrid(lr=3e-3, hidden=[32, 32], levels=41, epsilon_steps=20_000, **given),
        Schedule(steps, evaluation_every=steps, checkpoint_every=steps, evaluation_episodes=256),
        seed=seed,
        n_envs=16,
        folder=folder,
    )
    run.start()
    run.run()
    return float(run.judge(2_048).evaluation.by_episode.mean())


HALF = 0.5
"""E(1 - x): what side 0 is worth at best, the mode of a policy that stays uniform."""
LEARNED = {"both": (BEST_BARGAIN, 0.01), "policy": (BEST_BARGAIN, 0.03), "values": (HALF, 0.03)}
"""By learner: what the best of its kind earns, and how far below it may stay."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("learner", LEARNED)
def test_the_best_bargain_is_struck_by_both_together(learner: str, seed: int, tmp_path: Path) -> None:
    """tests.riddles: E max(x, 1 - x) = 3/4 for who picks the better side and its amount; values alone learn the amount of a side."""
    won = bargained(tmp_path, seed, 60_000, {}, learner=learner, rollout=16)
    best, below = LEARNED[learner]
    print(f"hybrid, {learner}, seed {seed}: {won:.4f}, best {best:.2f}")
    assert best - below < won < best + 0.03  # of the mean over episodes: its deviation is .01
