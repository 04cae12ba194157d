"""What a hyperparameter is, and those that every algorithm has. No torch in sight, so that a config is cheap to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from marl.errors import UserError


def setting(default: Any, low: float, high: float, help: str) -> Any:
    """A hyperparameter with its legal range."""
    return field(default=default, metadata={"low": low, "high": high, "help": help})


def layers(*sizes: int) -> Any:
    """Widths of hidden layers."""
    default: Callable[[], list[int]] = lambda: list(sizes)  # noqa: E731
    return field(default_factory=default, metadata={"low": 1, "high": 65_536, "help": "widths of hidden layers"})


@dataclass
class Settings:
    """What every algorithm has. `check` refuses what is out of range.

    `serves` says which actions it can learn: "any", "continuous" columns alone, "choices" from a finite set, or "mixed" columns alone.
    `joint` says that it learns one value of a whole team and so needs a team's reward.
    """

    serves: ClassVar[str] = "any"
    joint: ClassVar[bool] = False

    lr: float = setting(3e-4, 0.0, 10.0, "learning rate")
    anneal: bool = setting(True, 0, 1, "learning rate falls linearly to 0 over the run")
    gamma: float = setting(0.99, 0.0, 1.0, "discount a tick")
    hidden: list[int] = layers(64, 64)
    activation: str = field(default="tanh", metadata={"options": ("tanh", "relu"), "help": "of hidden layers"})
    rollout: int = setting(128, 1, 1_000_000, "ticks of every copy between updates")
    normalise_observations: bool = setting(False, 0, 1, "networks see observations less their running mean over their deviation")
    agent_id: bool = setting(False, 0, 1, "observations say which of the agents that share parameters it is, one-hot")

    def check(self) -> None:
        """Raise UserError for the first value out of range."""
        for f in fields(self):
            value, options = getattr(self, f.name), f.metadata.get("options")
            where = f"algorithm.{f.name} = {value!r}"
            if options and value not in options:
                raise UserError(f"{where}: legal are {', '.join(options)}")
            if options or value is None or isinstance(value, str):
                continue
            low, high = f.metadata["low"], f.metadata["high"]
            for number in value if isinstance(value, list) else [value]:
                if not isinstance(number, int | float):
                    raise UserError(f"{where}: {'a list like [64, 64]' if isinstance(value, list) else 'a number'} is expected")
                if not low <= number <= high:
                    raise UserError(f"{where}: legal range is [{low:g}, {high:g}]")
