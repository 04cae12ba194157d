"""Copies that are continued by playing their episodes again: foreign environments, of which nothing is known but what was done in them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from marl import rng
from marl.copies import SHOWN, Copies
from marl.errors import UserError
from marl.game import F4, RUNNING
from marl.runner import Failure


class InexactResume(UserWarning):
    """An environment that did not repeat its episode when it was replayed."""


class Replayed(Copies):
    """Copies made as `type(self)(make, n_envs, **options)`, whose state is the seed of each episode and the actions since.

    An exact resume where the environment is deterministic.
    """

    key: npt.NDArray[np.uint64]
    episode: npt.NDArray[np.int64]
    restarts: npt.NDArray[np.int64]
    _make: Callable[[], Any]
    _options: dict[str, Any]
    _taken: list[list[npt.NDArray[np.float64]]]
    """Of each copy, the actions [A, U] since its reset."""

    @abstractmethod
    def next_episode(self, copies: Sequence[int] | npt.NDArray[np.int64] | None = None) -> F4:
        """Leave the episode of the named copies (all by default) where it is and start their next one; returns obs."""

    @abstractmethod
    def _open(self, copies: Sequence[int]) -> None:
        """Reset the environments of these copies to their present episodes."""

    @abstractmethod
    def _advance(self, copies: Sequence[int]) -> list[Any]:
        """Step the environments of these copies with what stands in `action`, which is kept for a replay."""

    @abstractmethod
    def _take(self, b: int, result: Any) -> str | None:
        """Write what a step gave into the rows of copy b; returns what is wrong with it."""

    @property
    def address(self) -> rng.Address:
        """Key, episode and tick [B] of the copies."""
        return self.key, self.episode, np.array([len(actions) for actions in self._taken], np.int64)

    def _records(self) -> dict[str, npt.NDArray[Any]]:
        return {"key": self.key, "episode": self.episode, "restarts": self.restarts, **{name: getattr(self, name) for name in SHOWN}}

    def state_dict(self) -> dict[str, Any]:
        """The arrays, and for each copy the actions since its reset, from which it can be replayed: taken [sum of lengths, A, U]."""
        taken = [action for actions in self._taken for action in actions]
        shape = (0, *self.action.shape[1:])
        own = {"length": np.array([len(a) for a in self._taken]), "taken": np.array(taken) if taken else np.zeros(shape)}
        return {name: values.copy() for name, values in self._records().items()} | own

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken, by replaying each copy's episode from its seed.

        Warns with `InexactResume` where a copy does not come out bit for bit: it goes on from what it now shows, or from the
        beginning of its next episode where this one ended.
        """
        for name in ("length", "taken"):
            if name not in saved:
                raise UserError(f"saved state of {self.name} lacks {name!r}")
        self._load(self._records(), saved)
        self._begun = True
        lost = self._replay(np.asarray(saved["length"]), np.asarray(saved["taken"]))
        shown = ("obs", "alive", "action_mask", "state")
        differ = {b for name in shown for b in range(self.n_envs) if not np.array_equal(getattr(self, name)[b], saved[name][b])}
        self._load({name: values for name, values in self._records().items() if name not in shown}, saved)
        if lost:
            self.next_episode(sorted(lost))
        if lost | differ:
            text = ", ".join(str(b) for b in sorted(lost | differ))
            warnings.warn(
                f"{self.name} did not repeat its episode in copies {text}: it is not deterministic, the resume is not exact",
                InexactResume,
                stacklevel=2,
            )

    def _replay(self, lengths: npt.NDArray[Any], taken: npt.NDArray[Any]) -> set[int]:
        """Replay all copies; returns those whose episode broke or ended on the way."""
        starts = np.cumsum(lengths) - lengths
        self._open(range(self.n_envs))
        lost: set[int] = set()
        for t in range(int(lengths.max())):
            copies = [b for b in range(self.n_envs) if lengths[b] > t and b not in lost]
            for b in copies:
                self.action[b] = taken[starts[b] + t]
            self.status[copies] = RUNNING
            for b, result in zip(copies, self._advance(copies)):
                fault = str(result) if isinstance(result, Failure) else self._take(b, result)
                if fault or self.status[b] != RUNNING:
                    lost.add(b)
        self._gather_state()
        return lost

    def fork(self, copies: Sequence[int] | npt.NDArray[np.int64] | None = None) -> Self:
        """Copies that continue from here on their own, replayed in new environments; a subset where `copies` names one."""
        chosen = self._chosen(copies)
        made: Callable[..., Self] = type(self)
        other = made(self._make, len(chosen), **self._options)
        if not self._begun:
            return other
        mine = self.state_dict()
        ends = np.cumsum(mine["length"])
        picked = [mine["taken"][ends[b] - mine["length"][b] : ends[b]] for b in chosen]
        theirs = {name: values[chosen] for name, values in mine.items() if name != "taken"}
        other.load_state_dict(theirs | {"taken": np.concatenate(picked)})
        return other
