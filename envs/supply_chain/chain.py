"""The games `supply_chain` and `supply_chain_log`: nodes of one network, with synthetic demand or real daily demand."""

from __future__ import annotations

from envs.supply_chain import accounts, baselines, rules, sight
from envs.supply_chain.params import SupplyChainParams
from envs.supply_chain.state import SupplyState
from marl.game import Game

SUPPLY_CHAIN = Game(
    "supply_chain",
    version=0,
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
    baselines={"naive": baselines.naive},
    citation="Clark and Scarf 1960; Chen, Drezner, Ryan and Simchi-Levi 2000",
)
