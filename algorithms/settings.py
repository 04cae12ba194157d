"""Settings of the algorithms: each hyperparameter is written once, here. No torch in sight, so that a config is cheap to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

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
    """What every algorithm has. `check` refuses what is out of range."""

    lr: float = setting(3e-4, 0.0, 10.0, "learning rate")
    anneal: bool = setting(True, 0, 1, "learning rate falls linearly to 0 over the run")
    gamma: float = setting(0.99, 0.0, 1.0, "discount a tick")
    hidden: list[int] = layers(64, 64)
    activation: str = field(default="tanh", metadata={"options": ("tanh", "relu"), "help": "of hidden layers"})
    rollout: int = setting(128, 1, 1_000_000, "ticks of every copy between updates")

    def check(self) -> None:
        """Raise UserError for the first value out of range."""
        for f in fields(self):
            value, options = getattr(self, f.name), f.metadata.get("options")
            where = f"algorithm.{f.name} = {value!r}"
            if options and value not in options:
                raise UserError(f"{where}: legal are {', '.join(options)}")
            if options or value is None:
                continue
            low, high = f.metadata["low"], f.metadata["high"]
            for number in value if isinstance(value, list) else [value]:
                if not low <= number <= high:
                    raise UserError(f"{where}: legal range is [{low:g}, {high:g}]")


@dataclass
class IPPO(Settings):
    """Of `algorithms.ippo`."""

    epochs: int = setting(4, 1, 1_000, "passes over a rollout")
    minibatches: int = setting(4, 1, 100_000, "gradient steps a pass")
    clip: float = setting(0.2, 0.0, 10.0, "epsilon: the probability ratio is clipped to 1 +- epsilon")
    gae_lambda: float = setting(0.95, 0.0, 1.0, "of the generalised advantage estimator")
    entropy: float = setting(0.0, 0.0, 10.0, "coefficient of the entropy bonus")
    value: float = setting(0.5, 0.0, 100.0, "coefficient of the value loss")
    gradient_norm: float = setting(0.5, 1e-9, 1e9, "largest L2 norm of a gradient")
    log_std: float = setting(-0.7, -20.0, 5.0, "initial log standard deviation of continuous columns, whose range is [-1, 1]")
    return_scaling: bool = setting(False, 0, 1, "divide returns by their running standard deviation")


@dataclass
class ISAC(Settings):
    """Of `algorithms.isac`."""

    activation: str = field(default="relu", metadata={"options": ("tanh", "relu"), "help": "of hidden layers"})
    anneal: bool = setting(False, 0, 1, "learning rate falls linearly to 0 over the run")
    rollout: int = setting(1, 1, 1_000_000, "ticks of every copy between updates")
    tau: float = setting(0.005, 0.0, 1.0, "share of the new critic that enters the target critic")
    batch: int = setting(256, 1, 1_000_000, "rows an update")
    updates: int = setting(1, 1, 100_000, "updates a rollout")
    replay: int = setting(100_000, 1, 100_000_000, "rows that a part's replay holds")
    warm_up: int = setting(1_000, 0, 100_000_000, "rows collected at random before the first update")
    n_step: int = setting(1, 1, 1_000, "steps of reward before bootstrapping")
    alpha: float | None = setting(None, 0.0, 1_000.0, "temperature; none: learned toward the target entropy")
    target_entropy: float | None = setting(
        None, -1e6, 1e6, "nats; none: -1 a continuous column, .5 log of its legal choices a discrete one"
    )

    def check(self) -> None:
        """As its parent's; a replay below the warm-up would never be learned from."""
        super().check()
        if self.warm_up > self.replay:
            raise UserError(f"algorithm.warm_up = {self.warm_up} rows: legal range is [0, {self.replay}], algorithm.replay")
