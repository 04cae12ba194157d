# mypy: allow-untyped-defs, allow-incomplete-defs
"""A target as a goal: spend per conversion or value over spend that an advertiser shall reach, neither more nor less.

Both are columns of its view, so that what it reached can be learned from as if it had been its target (Andrychowicz et al. 2017): spend per
conversion over a conversion's value, one conversion where none is seen, or value over spend; both of the episode so far, cut at 10.
"""

from __future__ import annotations

import numpy as np

from envs.auction.params import AIM_CPA
from envs.auction.ratios import RATIO, cut
from envs.auction.state import inlined, own_
from marl.compiled import rule
from marl.game import B1, F4, Goal

TARGETS = {"target_reached": RATIO, "target_wanted": RATIO}
"""Columns of the view."""


@inlined
def reached(p, s, b, a):
    """What the episode has reached so far, in the precision of the view."""
    spent = float(s.own[b, a, own_.spent])
    if p.aim == AIM_CPA:
        return seen(spent / (max(s.own[b, a, own_.seen], 1) * float(p.worth[a])))
    return seen(s.own[b, a, own_.won] / spent) if spent > 0.0 else 0.0


@rule
def wanted(p, a):
    return seen(p.target[a] / float(p.worth[a])) if p.aim == AIM_CPA else seen(p.roas_target)


@rule
def seen(x):
    """A number as a column shows it."""
    return float(np.float32(cut(x)))


@rule
def near(reached, wanted, band):
    return abs(reached - wanted) <= band * wanted


def outcome(p, achieved: F4, desired: F4) -> tuple[F4, B1]:
    """(reward [N], over [N]) of what was reached [N, 1] under targets [N, 1]; a target ends nothing."""
    got, asked = achieved[:, 0].astype(np.float64), desired[:, 0].astype(np.float64)
    met: B1 = np.abs(got - asked) <= p.target_band * asked
    return met.astype(np.float32) - np.float32(1.0), np.zeros(len(got), bool)


def goals(p) -> dict[str, Goal]:
    """Under pay target_*; none else."""
    reached, wanted = TARGETS
    return {"advertiser": Goal((reached,), (wanted,), outcome, ends=False)} if p.aim else {}
