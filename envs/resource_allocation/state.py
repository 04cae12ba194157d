"""The cluster's state: few arrays with named columns, so that what belongs to one tenant or job lies together and compiles fast."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from marl.game import F8, I8, array, index

I4 = npt.NDArray[np.int32]

WAIT = ("kind", "work", "since", "due")
"""Of a waiting job: its class, ticks of work, tick of arrival, tick of its deadline (0 without one)."""
RUN = ("tenant", "node", "kind", "left", "work", "since", "due")
"""Of a running job; `left` are ticks of work."""
OWN = (
    "head", "queued", "running", "phase", "credit", "issued", "paid", "arrived", "done", "dropped",
    "bid", "quota", "wanted", "started", "came", "missed", "ended", "lost",
)  # fmt: skip
"""Counts of a tenant: place of its oldest waiting job, jobs that wait and run, 1 in a burst; credits in millionths; jobs of the episode.

Of the tick: what is bid, jobs that may still be started, jobs that waited before the allocation, that were started, that came, that
were dropped or late, that ended, that were dropped.
"""
MEAN = (
    "rank", "gained", "share", "recent", "granted", "arriving", "released", "sum_gained", "sum_paid", "sum_ended", "sum_missed",
    "sum_settled", "sum_started", "sum_delayed", "sum_wait", "sum_queue", "sum_share",
)  # fmt: skip
"""Quantities of a tenant: key of the mechanism, utility and dominant share of the tick, averages of the dominant share, of the share of
waiting jobs that was started and of arrivals, the part of a job that has been released of those held back. What starts with `sum` adds
up over ticks after the warm-up: utility, credits, jobs ended, missed, ended or dropped, started, started after their tick of arrival,
ticks waited, jobs waiting, dominant shares."""
ALL = ("running", "offset", "collected", "work_in", "work_done", "work_gone", "work_waiting")
"""Counts of the cluster: running jobs, tick of the trace at the beginning, credits in millionths, ticks of work accepted, done, dropped,
waiting."""
WHOLE = ("fair", "change", "price", "sum_fragmented", "sum_energy", "sum_carbon", "sum_price", "sum_square")
"""Quantities of the cluster: Jain's index of the average dominant shares, its change in the tick, credits bid in the tick; sums."""
BUCKETS = 96
"""Of slowdowns: bucket i holds [2^(i/8), 2^((i+1)/8)), the last one all above."""

wait_, run_, own_, mean_, all_, whole_ = (index(dict.fromkeys(names)) for names in (WAIT, RUN, OWN, MEAN, ALL, WHOLE))


class ClusterState(NamedTuple):
    wait: I4 = array("n_agents", "queue_limit", len(WAIT))  # [B, A, Q, 4] rings, from `head` on
    run: I4 = array("slots", len(RUN))  # [B, S, 7] the first `running`
    own: I8 = array("n_agents", len(OWN))  # [B, A, 18]
    mean: F8 = array("n_agents", len(MEAN))  # [B, A, 17]
    all: I8 = array(len(ALL))  # [B, 7]
    whole: F8 = array(len(WHOLE))  # [B, 8]
    queued_of: I8 = array("n_agents", "classes")  # [B, A, K] waiting jobs
    used: I8 = array("n_agents", "resources")  # [B, A, R] units
    sum_used: F8 = array("n_agents", "resources")  # [B, A, R] units, over ticks after the warm-up
    free: I8 = array("n_nodes", "resources")  # [B, N, R] units
    down: I8 = array("n_nodes")  # [B, N] ticks to the end of the outage, 0 where there is none
    slow: I8 = array(BUCKETS)  # [B, 96] finished jobs by slowdown, after the warm-up
