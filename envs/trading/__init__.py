"""Trading: makers, executors, informed and momentum traders on one ledger."""

from __future__ import annotations

from envs.trading.kyle import KYLE
from envs.trading.liquidation import LIQUIDATION
from envs.trading.market import TRADING_LOG, TRADING_MARKET
from envs.trading.quoting import QUOTING

TRADING = (TRADING_MARKET, TRADING_LOG, QUOTING, LIQUIDATION, KYLE)
