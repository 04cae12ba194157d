# mypy: allow-untyped-defs, allow-incomplete-defs
"""What the world knows and brings: regimes, values with a common factor and jumps, bars of a file, public prices, noise flow.

log V moves by drift - sd^2/2 + sd (sqrt(rho) F + sqrt(1 - rho) e) + jump, or as the file's closes do. The public price follows a share
`news` of it at once and closes `pace` of the gap a tick; orders move it for good by `permanent` a lot. Each draw is of its own tick.
"""

from __future__ import annotations

import math

from envs.trading.ledger import MICRO
from envs.trading.params import CRISIS, CRISIS_CORRELATION, SWITCHING
from envs.trading.state import all_, law_, mark_
from marl.compiled import apart, rule
from marl.game import index
from marl.rng import draw, gaussian, normal, stream, uniform

REGIME, FACTOR, OWN, JUMPS, SIGNAL, FLOW, TURN, OFFSET, CRASH, SIDES, MET, PARENT = range(12)
effect_ = index(dict.fromkeys(("volatility", "drift", "jumps", "flow", "depth")))


@apart
def change_regime(p, s, b):
    """A crisis that breaks out lasts its time; otherwise the regime stays, or switches with a chance to any of the others."""
    if s.all[b, all_.crash] > 0:
        s.all[b, all_.crash] -= 1
        if s.all[b, all_.crash] == 0:
            s.all[b, all_.crash], s.all[b, all_.regime] = -1, 0 if p.regime == SWITCHING else p.regime
    elif p.regime == SWITCHING and uniform(s, b, REGIME, 0) < p.leaves:
        s.all[b, all_.regime] = (s.all[b, all_.regime] + 1 + int(3.0 * uniform(s, b, REGIME, 1))) % 4
    hazard = p.crash / (p.horizon - p.crash * s.t[b])  # so that every tick is as likely, and all together have the chance `crash`
    if p.crash > 0.0 and s.all[b, all_.crash] == 0 and uniform(s, b, CRASH, 0) < hazard:
        s.all[b, all_.regime], s.all[b, all_.crash] = CRISIS, p.crash_length


@rule
def follow(law, b, m, factor, news, pace, lowest):
    """The value is multiplied by `factor`; the public price follows its share `news` and closes its part of the gap, `pace`."""
    law[b, m, law_.value] *= factor
    anchor = law[b, m, law_.anchor] * (1.0 + news * (factor - 1.0))
    law[b, m, law_.anchor] = max(lowest, anchor + pace * (law[b, m, law_.value] - anchor))


@apart
def advance(p, s, b):
    """The first part of a tick: regime, values, public prices, noise of signals; the file's moves where bars are replayed."""
    change_regime(p, s, b)
    own, jumps, noise, k = stream(s, b, OWN), stream(s, b, JUMPS), stream(s, b, SIGNAL), s.all[b, all_.regime]
    rho = max(p.correlation, CRISIS_CORRELATION) if k == CRISIS else p.correlation
    common, rest, chance = math.sqrt(rho) * normal(s, b, FACTOR, 0), math.sqrt(1.0 - rho), p.jumps * p.effect[k, effect_.jumps]
    at = (s.all[b, all_.offset] + s.t[b] + 1) % p.replay_ticks
    for m in range(p.assets):
        if p.source == 1:
            factor = p.closes[at, m] / p.closes[at - 1, m] if at > 0 else 1.0
        else:
            sd = p.asset_sd[m] * p.effect[k, effect_.volatility]
            move = p.asset_drift[m] * p.effect[k, effect_.drift] - 0.5 * sd * sd + sd * (common + rest * gaussian(own, m))
            if chance > 0.0 and draw(jumps, 2 * m) < chance:
                move += p.jump_size * p.asset_sd[m] * (1.0 if draw(jumps, 2 * m + 1) < 0.5 else -1.0)
            factor = math.exp(move)
        follow(s.law, b, m, factor, p.news, p.pace, p.lowest)
        if p.informed > 0:
            s.law[b, m, law_.signal] = p.signal_noise * gaussian(noise, m)
        s.mark[b, m, mark_.seen] = s.mark[b, m, mark_.high] = s.mark[b, m, mark_.low] = s.mark[b, m, mark_.mid]
        if p.source == 1:
            close = s.law[b, m, law_.anchor] * MICRO
            s.mark[b, m, mark_.high], s.mark[b, m, mark_.low] = int(close * p.highs[at, m]), int(close * p.lows[at, m])
        s.mark[b, m, mark_.flow] = s.mark[b, m, mark_.volume] = s.mark[b, m, mark_.traded] = s.mark[b, m, mark_.net] = 0


@rule
def lots_of(wanted, u, v):
    """A whole number of lots with the mean `wanted` from two uniform draws: that of 2 u wanted, rounded up or down by v."""
    return int(2.0 * wanted * u + v)


@rule
def push(law, b, m, share):
    """Orders move the public price by a share of it for good."""
    law[b, m, law_.anchor] *= max(0.5, 1.0 + share)
