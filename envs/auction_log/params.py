"""Parameters of the replay of a log, and the tables that the rules read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from envs.auction_log.data import BUILT_IN, SYNTHETIC, Log, read_log
from marl.errors import UserError
from marl.params import Params, choice, data_file, derived, param

SPLITS = ("train", "test")
CHEAPEST, DEAREST = 1 / 16, 8.0
"""Range of the multiplier on the base bid."""


@dataclass(frozen=True)
class AuctionLogParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = ("price", "click", "expected", "relative")

    n_agents: int = param(1, 1, 128, "bidders", "they bid against the log's price and against each other")
    horizon: int = param(50, 1, 100_000, "ticks", "the log is cut into so many runs of lines of equal length")
    train: str = data_file(
        SYNTHETIC, "a log", "path of the training log, see envs.auction_log.data; synthetic: a built-in small one", built_in=BUILT_IN
    )
    test: str = data_file(SYNTHETIC + "/2", "a log", "path of the held-out log, never read by training or tuning", built_in=BUILT_IN)
    split: str = choice("train", SPLITS, "the log that is replayed")
    budget: float = param(0.5, 1e-6, 1.0, "share of the log's total cost", "of each bidder")
    advertiser: int = param(0, 0, 10**6, "", "advertiserNumber of a Parquet log whose rows are replayed")
    vary: bool = param(True, 0, 1, "", "training episodes start at a random line, wrap round, and draw the budget's share")
    budget_low: float = param(1 / 32, 1e-6, 1.0, "share of the log's total cost", "drawn shares are log-uniform from here up to budget")

    def validate(self) -> None:
        where = type(self).__name__
        if len(self.files()) == 1:
            raise UserError(f"{where}.train = {self.train!r} with test = {self.test!r}: two files are expected, or none")
        if self.log("train").click.sum() == 0:
            raise UserError(f"{self.train}: no click among {len(self.log('train').click)} auctions, a training log needs at least one")
        for name in SPLITS:
            self._check(getattr(self, name), self.log(name))

    def _check(self, path: str, log: Log) -> None:
        if self.horizon > len(log.price):
            raise UserError(
                f"{type(self).__name__}.horizon = {self.horizon} ticks: legal for the {len(log.price)} auctions of {path} is up to that"
            )
        if log.price.sum() == 0 or log.pctr.sum() == 0:
            raise UserError(
                f"{path}: the {'price' if log.price.sum() == 0 else 'pctr'} column is 0 throughout, some positive values are expected"
            )

    def log(self, split: str) -> Log:
        """The log of a split."""
        return read_log(getattr(self, split), self.advertiser, self.mark(split))

    @derived
    def varies(self) -> int:
        """1 where episodes differ: on the training split, if asked."""
        return int(self.vary and self.split == "train")

    @derived
    def share_low(self) -> float:
        """Lowest share that an episode draws."""
        return min(self.budget_low, self.budget)

    @derived
    def total(self) -> int:
        """Cost of all auctions of the log, money units."""
        return int(self.log(self.split).price.sum())

    @derived
    def base(self) -> float:
        """Mean price of the training log, money units: what multiplier 1 bids for an average impression."""
        return float(self.log("train").price.mean())

    def tables(self) -> Mapping[str, Any]:
        """price [N] and click [N]; `expected` [N], clicks by pCTR scaled to the training log's number of clicks, at
        most 1; `relative` [N], pCTR over its mean in the training log."""
        log, train = self.log(self.split), self.log("train")
        calibrated = log.pctr * (train.click.sum() / train.pctr.sum())
        return {
            "price": log.price,
            "click": log.click,
            "expected": np.minimum(calibrated, 1.0),
            "relative": log.pctr / train.pctr.mean(),
        }
