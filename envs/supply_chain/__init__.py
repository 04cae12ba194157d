"""Supply chains: agents who order for the nodes of one network."""

from __future__ import annotations

from envs.supply_chain.chain import SUPPLY_CHAIN, SUPPLY_CHAIN_LOG

SUPPLY_CHAINS = (SUPPLY_CHAIN, SUPPLY_CHAIN_LOG)
