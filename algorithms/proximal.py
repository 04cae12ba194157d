"""What PPO's variants have beside its loss: the entropy's coefficient and the deviation over the run, and the objective of the rewards."""

from __future__ import annotations

from typing import Any

from algorithms import settings
from algorithms.cvar import Array, Tail
from algorithms.deviation import FallingDeviation
from algorithms.entropy import EntropyBonus


class Proximal:
    """Put before Tianshou's PPO. `bonus`, `deviation` and `tail` are there where settings ask for them, and saved with the networks."""

    policy: Any
    bonus: EntropyBonus | None
    deviation: FallingDeviation | None
    tail: Tail | None
    ent_coef: float

    def _equip(self, s: settings.Proximal, updates: int) -> None:
        """Read the settings; after the parents were made."""
        self.bonus = EntropyBonus(s, updates) if s.entropy_end is not None or s.entropy_target is not None else None
        actor = self.policy.actor
        first, ends = actor.columns.log_deviations(s.log_std), actor.columns.log_ends(s.log_std, s.log_std_end)
        falls = s.log_std_end is not None or any(end is not None for end in ends)
        self.deviation = FallingDeviation(s.log_std_share, updates, first, ends) if falls else None
        if self.deviation is not None:
            self.deviation.hold(actor.log_std)
        self.tail = Tail(s.cvar, s.cvar_episodes, s.gamma) if s.cvar < 1.0 else None

    def _set_bonus(self) -> None:
        """Before the gradient steps of an update."""
        if self.bonus is not None:
            self.ent_coef = self.bonus.coefficient

    def _tell(self, told: Any) -> Any:
        """After them: the statistics, with what was set; coefficient and deviation move on."""
        if self.bonus is not None:
            vars(told)["entropy_coefficient"] = self.ent_coef
            self.bonus.observe(told.ent_loss.mean)
        if self.deviation is not None:
            self.deviation.fall(self.policy.actor.log_std)
        if self.tail is not None:
            vars(told).update(self.tail.told())
        return told

    def _objective(self, paid: Array, over: Array, alive: Array, head: Array, rows: int) -> Array:
        """Rewards [L * T] that the return to be maximised is the sum of: those paid [L * T], or what `algorithms.cvar` makes of them."""
        if self.tail is None:
            return paid
        paid, over, alive = (x.reshape(-1, rows) for x in (paid, over, alive))
        return self.tail.paid(paid, over, alive, head).reshape(-1)
