"""Sight: what networks see of observations, less their running mean over their running deviation, within +-10.

    z = clip((x - m) / sqrt(v + 1e-8), -10, 10),   with m, v merged batch by batch:
    d = m_b - m,  m <- m + d n_b / (n + n_b),  M <- M + M_b + d^2 n n_b / (n + n_b),  v = M / n
(Chan, Golub and LeVeque 1983, the parallel form of Welford 1962). Columns [W] of the observation alone: the identity and the
mask beside it stay as they are. Critics of the global state see its columns likewise, through moments of their own.

What is collected is gathered at once and shown at the next update's boundary: after an update on-policy, since a
log-probability that was recorded under other moments than the loss reads it under would not be that of the policy that
acted; before an update off-policy, so that the first one sees what the warm-up gathered. Moments are buffers of the policy
(of the learner, the state's), so that a checkpoint, an evaluation and an actor have them, and target networks share them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from marl.joint import TeamBuffer
from marl.replay import LaneBuffer

if TYPE_CHECKING:
    from marl.team import Part

LARGEST = 10.0
"""Deviations beyond which nothing is told apart."""
SMALLEST = 1e-8
"""Variance of a column that never changes."""


class Sight(nn.Module):
    """Moments of `width` columns: those shown, `mean` and `scale`, and those gathered since."""

    mean: Tensor
    scale: Tensor
    gathered: Tensor
    count: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("gathered", torch.zeros(2, width, dtype=torch.float64))  # mean, sum of squared deviations
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [..., W and more] with their first W columns normalised."""
        own = ((rows[..., : self.width] - self.mean) / self.scale).clamp(-LARGEST, LARGEST)
        return own if rows.shape[-1] == self.width else torch.cat([own, rows[..., self.width :]], -1)

    def gather(self, rows: Any) -> None:
        """Merge rows [N, W and more]; what is shown stays."""
        if not len(rows):
            return
        batch = torch.as_tensor(rows)[:, : self.width].to(self.gathered)
        mean, n, before = batch.mean(0), float(len(batch)), float(self.count)
        off, total = mean - self.gathered[0], before + n
        self.gathered[1] += (batch - mean).square().sum(0) + off.square() * (before * n / total)
        self.gathered[0] += off * (n / total)
        self.count += n

    def renew(self) -> None:
        """Show what was gathered."""
        if self.count:
            self.mean.copy_(self.gathered[0])
            self.scale.copy_((self.gathered[1] / self.count + SMALLEST).sqrt())


def attach(learner: Any, part: Part) -> None:
    """Put a sight before all networks of a learner that read observations, and one before those that read the global state.

    A module names those of its own that do: in `eyes` the ones whose input begins with an observation, in `overview` those
    whose input begins with the state. Where a module within has eyes, the one around it has none of its own.
    """
    own, wide = Sight(part.group.width), Sight(part.state_width)
    readers, watchers = list(_named(learner, "eyes")), list(_named(learner, "overview"))
    if not readers:
        raise TypeError(f"{type(learner).__name__}: no network of it names its eyes, observations cannot be normalised")
    for module in readers:
        module.register_forward_pre_hook(_through(own))
    for module in watchers:
        module.register_forward_pre_hook(_through(wide))
    learner.policy.sight = own
    if watchers:
        learner.overview_sight = wide


def _named(learner: Any, kind: str) -> Iterator[nn.Module]:
    for module in learner.modules():
        inner = (m for m in module.modules() if m is not module)
        if hasattr(module, kind) and not (kind == "eyes" and any(hasattr(m, kind) for m in inner)):
            for name in getattr(module, kind):
                found = getattr(module, name)
                yield from found if isinstance(found, nn.ModuleList) else [found]


def _through(sight: Sight) -> Any:
    """A hook; a function is not copied with the module it hangs on, so that a target network looks through the same sight."""

    def look(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return sight(given[0]), *given[1:]

    return look


def gather(learner: Any, buffer: LaneBuffer, ticks: int) -> None:
    """Take in the observations of the last `ticks` ticks in the buffer, and the states."""
    if hasattr(learner.policy, "sight"):
        learner.policy.sight.gather(buffer.newest(ticks))
    if hasattr(learner, "overview_sight") and isinstance(buffer, TeamBuffer):
        learner.overview_sight.gather(buffer.newest_states(ticks))


def renew(learner: Any) -> None:
    """Show what was gathered."""
    for module in (learner.policy, learner):
        for name in ("sight", "overview_sight"):
            if hasattr(module, name):
                getattr(module, name).renew()
