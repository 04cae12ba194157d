"""The games `supply_chain` and `supply_chain_log`: nodes of one network, with synthetic demand or real daily demand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from envs.supply_chain import accounts, answers, baselines, rules, sight
from envs.supply_chain.params import DEMANDS, SupplyChainParams
from envs.supply_chain.state import SupplyState
from marl.errors import UserError
from marl.game import Game, Picture
from marl.params import choice, param

HELD_OUT = (1_001, 1_002)
"""Seeds of networks that no training uses."""


def reference(p: SupplyChainParams) -> str:
    """The best shipped baseline: (s, S) where orders have a fixed cost, else base stock."""
    return "reorder" if p.fixed > 0 else "base_stock"


def trials(p: SupplyChainParams) -> dict[str, SupplyChainParams]:
    """Held-out networks of the same size, where the network is generated."""
    return {f"held-out network {seed}": replace(p, network=seed) for seed in HELD_OUT} if p.topology == "generated" else {}


SUPPLY_CHAIN = Game(
    "supply_chain",
    version=1,
    params=SupplyChainParams,
    state=SupplyState,
    roles=sight.roles,
    begin=rules.begin,
    step=rules.step,
    observe=sight.observe,
    measure=accounts.measure,
    metrics=accounts.METRICS,
    reward=accounts.REWARD,
    cost=accounts.COST,
    balance=accounts.balance,
    audit=accounts.AUDIT,
    baselines={
        "pass_through": baselines.pass_through,
        "base_stock": baselines.base_stock,
        "echelon_base_stock": baselines.echelon_base_stock,
        "reorder": baselines.reorder,
        "sterman": baselines.sterman,
        "moving_average": baselines.moving_average,
        "mpc": baselines.mpc,
    },
    naive="pass_through",
    reference=reference,
    known=answers.known,
    together=answers.together,
    trials=trials,
    action_grid=baselines.action_grid,
    picture=Picture("envs.supply_chain.picture:page", state=("item", "link")),
    presets=answers.PRESETS,
    citation="Clark and Scarf 1960, Optimal policies for a multi-echelon inventory problem, Management Science",
)


@dataclass(frozen=True)
class SupplyLogParams(SupplyChainParams):
    """The supply chain's, with the daily demand of a file for its customers'."""

    demand: str = choice("trace", DEMANDS, "daily demand of a file; legal is trace alone")
    action: str = choice("level", ("delta", "level", "quantity"), "what is chosen")
    period: int = param(7, 2, 1_000, "ticks", "of the season: a week")

    def validate(self) -> None:
        super().validate()
        if self.demand != "trace":
            raise UserError(f"SupplyLogParams.demand = {self.demand!r}: legal is 'trace', the game supply_chain has the others")


def held_out(p: SupplyLogParams) -> dict[str, SupplyLogParams]:
    """The last days of the file, in their order."""
    test = replace(p, split="test")
    return {"held out": replace(test, horizon=min(p.horizon, test.replay_days), warm_up=0)}


SUPPLY_CHAIN_LOG = replace(
    SUPPLY_CHAIN, name="supply_chain_log", params=SupplyLogParams, presets={}, trials=held_out, known=None, together=None
)
