"""What algorithms share that learn from whole rollouts: the policy, minibatches, and returns from one pass of the critic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory, LRSchedulerFactory
from tianshou.data import Batch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from algorithms.death import carried_on, left_behind, team_rows
from algorithms.networks import Actor
from algorithms.opinions import of_product
from algorithms.schedules import linear
from marl.opinion import Opinion
from marl.replay import LaneBuffer
from marl.sequences import SequenceBuffer, Slices
from marl.team import LightPolicy

PIECE = 8_192
"""Rows of one forward of the critic over a rollout."""


class LinearDecay(LRSchedulerFactory):
    """Learning rate falling linearly to 0 over a number of updates."""

    def __init__(self, updates: int) -> None:
        self._updates = max(updates, 1)

    def create_scheduler(self, optim: torch.optim.Optimizer) -> LambdaLR:
        return LambdaLR(optim, lambda k: linear(1.0, 0.0, k, self._updates))


def adam(lr: float, anneal: bool, updates: int) -> AdamOptimizerFactory:
    """Adam (Kingma and Ba 2015), annealed or not."""
    factory = AdamOptimizerFactory(lr=lr, eps=1e-5)
    return factory.with_lr_scheduler_factory(LinearDecay(updates)) if anneal else factory


class ActorPolicy(LightPolicy, ProbabilisticActorPolicy):
    """Tianshou's actor policy over action rows; explores within a training step and takes the mode outside."""

    def __init__(self, actor: Actor) -> None:
        self.row_width = actor.columns.count
        super().__init__(
            actor=actor,
            dist_fn=actor.distribution,
            deterministic_eval=True,
            action_space=spaces.Box(-1.0, 1.0, (actor.columns.count,), np.float32),
            action_scaling=False,
            action_bound_method=None,
        )

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(logits, act, state, dist), as its parent's, without parsing what is no array."""
        logits, state = self.actor(batch.obs, state=state, info=batch.info)
        dist = self.dist_fn(logits)
        act = dist.sample() if self.is_within_training_step else dist.mode
        return Rows.of(logits=logits, act=act, dist=dist, state=state)

    def map_action(self, act: Any) -> Any:
        """Raw rows -> the units of the action table."""
        return self.actor.columns.to_units(self._action_to_numpy(act))

    def drawn(self, rows: Tensor, out: Any, u: Tensor) -> Tensor:
        """Rows drawn from its distribution by uniform numbers u [N, U] (`marl.sample`)."""
        row: Tensor = out.dist.quantile(u)
        return row

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its mode, and the distribution that it explores with."""
        return of_product(self.map_action(out.act), out.dist)


class Rows(Batch):
    """A batch of flat tensors that splits by torch indices: no nested batch a minibatch."""

    @classmethod
    def of(cls, **tensors: Any) -> Rows:
        """Rows that share the tensors; `obs` may be slices."""
        rows = cls.__new__(cls)
        rows.__dict__.update(tensors, info=None)
        return rows

    def __len__(self) -> int:
        return len(self.__dict__["obs"])

    def split(self, size: int, shuffle: bool = True, merge_last: bool = False) -> Iterator[Rows]:
        """Minibatches of `size` rows; the remainder joins the last one with `merge_last`."""
        n = len(self)
        size = n if size == -1 else min(size, n)
        order = torch.randperm(n) if shuffle else torch.arange(n)
        count = max(n // size, 1) if merge_last else -(-n // size)
        for i in range(count):
            chosen = order[i * size :] if i == count - 1 else order[i * size : (i + 1) * size]
            yield Rows.of(**{k: v[chosen] for k, v in self.__dict__.items() if v is not None})


class SequenceRows(Rows):
    """A batch of the rows to learn from, flat, `obs` being Slices: minibatches are whole slices."""

    numbers: Tensor

    @classmethod
    def over(cls, slices: Slices, fields: Mapping[str, Tensor]) -> SequenceRows:
        """Of Slices that keep K rows, and fields [K, ...] of these."""
        batch = cls.of(obs=slices, **fields)
        assert isinstance(batch, SequenceRows)
        return batch

    def split(self, size: int, shuffle: bool = True, merge_last: bool = False) -> Iterator[Rows]:
        """Minibatches of whole slices, `size` rows or a little more; what remains joins the last one."""
        fields = {k: v for k, v in self.__dict__.items() if v is not None}
        slices: Slices = fields.pop("obs")
        shape = slices.reset.shape
        kept = torch.ones(shape.numel(), dtype=torch.bool, device=slices.reset.device)
        if slices.kept is not None:
            kept = torch.zeros_like(kept).index_fill(0, slices.kept, True)
        number, kept = (kept.cumsum(0) - 1).view(shape), kept.view(shape)
        order = torch.randperm(len(kept)) if shuffle else torch.arange(len(kept))
        for which in pieces(kept.sum(1).cpu()[order].numpy(), order, len(self) if size == -1 else size):
            own = kept[which]
            rows = slices.take(which, None if bool(own.all()) else own.flatten().nonzero().squeeze(1))
            yield Rows.of(obs=rows, **{k: v[number[which][own]] for k, v in fields.items()})


def pieces(counts: np.ndarray[Any, Any], order: Tensor, size: int) -> Iterator[Tensor]:
    """`order` cut where the counts since the last cut reach `size`; what remains joins the last piece."""
    cuts, held = [0], 0
    for i, count in enumerate(counts):
        held += int(count)
        if held >= size:
            cuts.append(i + 1)
            held = 0
    cuts[-1] = len(order)
    cuts = [0, *cuts] if len(cuts) == 1 else cuts
    for begin, end in pairwise(cuts):
        yield order[begin:end]


def rows_of(buffer: LaneBuffer, obs: Any, kept: Any, fields: Mapping[str, Tensor]) -> Rows:
    """The rollout as a batch: fields [K, ...] of the rows `kept`, and these rows of obs, or all as slices where there is memory."""
    device = next(iter(fields.values())).device
    if isinstance(buffer, SequenceBuffer):
        return SequenceRows.over(buffer.rollout().to(device), fields)
    return Rows.of(obs=torch.from_numpy(np.ascontiguousarray(obs[kept], np.float32)).to(device), **fields)


class Rollouts:
    """Put before one of Tianshou's actor-critics: its returns and advantages from one pass of the critic over the lanes.

    The pass gives V(o), and V(o') by looking one row ahead, where Tianshou's own preprocessing takes a pass for each. A
    critic with memory gave V(o) in collection, as it must be moved on there with its policy (`_remembered`).
    """

    policy: Any
    critic: Any
    ret_rms: Any
    return_scaling: bool
    compute_episodic_return: Any
    gamma: float
    gae_lambda: float
    _eps: float

    def _recorded(self, buffer: LaneBuffer) -> dict[str, Any]:
        """Further fields of the batch, from what was recorded in collection."""
        return {}

    def _judges(self) -> Mapping[str, Any]:
        """Critics by the field that collection records their values in, where they have memory."""
        return {"value": self.critic}

    def _remembered(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """V of critics with memory, which move on their columns of the answer's state; nothing without."""
        if not self.policy.state_width:
            return {}
        found = {}
        for field, critic in self._judges().items():
            found[field], out.state[:, critic.columns] = critic.step(rows, out.state)
        return found

    def _paid(self, batch: Any, buffer: LaneBuffer) -> np.ndarray[Any, Any]:
        """Rewards [N] that the returns are the sums of."""
        paid: np.ndarray[Any, Any] = batch.rew
        return paid

    def _values(self, obs: Any, critic: Any = None, state: Any = None) -> np.ndarray[Any, Any]:
        """V of observation rows [N, width] -> [N], in pieces that stay in the processor's cache; `critic` where it is another.

        A critic with memory has the lanes' states [N, S].
        """
        judge = self.critic if critic is None else critic
        with torch.no_grad():
            if state is not None:
                remembered: np.ndarray[Any, Any] = judge.step(self._here(obs), self._here(state))[0].cpu().numpy()
                return remembered
            return torch.cat([judge(piece).squeeze(1) for piece in self._here(obs).split(PIECE)]).cpu().numpy()

    def _next_values(self, buffer: LaneBuffer, value: np.ndarray[Any, Any], critic: Any = None) -> np.ndarray[Any, Any]:
        """V of what follows each row: the next row's, the tail's for the last, the final observation's where truncated."""
        following = np.empty_like(value)
        following[:, :-1] = value[:, 1:]
        remembers = isinstance(buffer, SequenceBuffer)
        following[:, -1] = self._values(buffer.tail, critic, buffer.memory_tail if remembers else None)
        states = buffer.memory_cuts if remembers else [None] * len(buffer.cuts)
        for (index, final), state in zip(buffer.cuts, states, strict=True):
            following.reshape(-1)[index] = self._values(final, critic, state)
        return following.reshape(-1)

    def _both_values(self, buffer: LaneBuffer, critic: Any = None) -> tuple[Any, Any]:
        """V(o) and V(o') [N] of a rollout, in the units that the critic learns in: one pass over it, its tail and what was cut short."""
        if isinstance(buffer, SequenceBuffer):  # recorded in collection
            field = next(name for name, judge in self._judges().items() if judge is (critic or self.critic))
            lanes = buffer.recorded[field].reshape(-1, buffer.rows)
        else:
            lanes = self._values(buffer.obs, critic).reshape(-1, buffer.rows)
        return lanes.reshape(-1), self._next_values(buffer, lanes, critic)

    def _scale(self) -> float:
        """Units of returns in one that the critic learns in."""
        return float(np.sqrt(self.ret_rms.var + self._eps)) if self.return_scaling else 1.0

    def expects(self, buffer: LaneBuffer, index: Any) -> np.ndarray[Any, Any]:
        """V(o') [K] of rows of a rollout, in the units of returns (`marl.survivors`)."""
        found: np.ndarray[Any, Any] = self._both_values(buffer)[1][index] * self._scale()
        return found

    def _estimates(
        self,
        batch: Any,
        buffer: LaneBuffer,
        indices: Any,
        paid: Any,
        scale: float,
        critic: Any = None,
        *,
        beyond: Any = None,
        gamma: float | None = None,
        episodic: bool = False,
    ) -> tuple[Any, Any]:
        """Returns and advantages [N] of what is `paid` [N], by Tianshou's GAE from one pass of a critic whose values are in `scale`.

        With `beyond` [N], what a team has still to earn, it is paid for a member that has left as well (`algorithms.death`). `gamma` is
        the discount where it is not the algorithm's; `episodic`: nothing is paid after an episode that is cut.
        """
        value, following = (x * scale for x in self._both_values(buffer, critic))
        if episodic:
            following = np.where(batch.truncated, 0.0, following).astype(following.dtype)
        rows: Any = Rows.of(rew=paid, terminated=batch.terminated, truncated=batch.truncated)
        estimator: Any = buffer
        if beyond is not None:
            value, following = carried_on(buffer, beyond, value, following)
            rows = estimator = team_rows(buffer, paid)
        found: tuple[Any, Any] = self.compute_episodic_return(
            rows, estimator, indices, following, value, gamma=self.gamma if gamma is None else gamma, gae_lambda=self.gae_lambda
        )
        return found

    def _here(self, array: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.policy.actor.log_std.device)

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """Returns and advantages by Tianshou's GAE from one pass of the critic; rows of agents that had left are dropped."""
        scale, paid, behind = self._scale(), self._paid(batch, buffer), left_behind(buffer)
        returns, advantages = self._estimates(batch, buffer, indices, paid, scale, beyond=behind and behind[0])
        kept = slice(None) if buffer.alive.all() else np.flatnonzero(buffer.alive)
        if self.return_scaling:
            self.ret_rms.update(returns[kept])
        fields = {"act": batch.act, "adv": advantages, "returns": returns / scale, **self._recorded(buffer)}
        tensors = {k: self._here(v[kept]) for k, v in fields.items()}
        return rows_of(buffer, batch.obs, kept, tensors)
