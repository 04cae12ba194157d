"""Rules that divide a divisible capacity, as pure functions of numbers: they fill `out` and touch nothing else.

A tenants, R resources. Amounts and capacities are in the same unit, whatever it is. The properties that each has, or lacks,
are those of Ghodsi et al. 2011, "Dominant resource fairness: fair allocation of multiple resource types", table 2.
"""

from __future__ import annotations

from marl.compiled import apart, rule

FULL = 1e-12
"""Share of a capacity, or of a demand, that counts as nothing left."""


@rule
def equal_split(demand, capacity, out):
    """out [A] = min(demand [A], capacity/A): what others leave is lost. Strategy-proof, not efficient."""
    for a in range(len(demand)):
        out[a] = min(demand[a], capacity / len(demand))


@rule
def proportional(request, capacity, out):
    """out [A] = request [A], scaled down to the capacity where the requests exceed it. Whoever asks for more gets more."""
    total = 0.0
    for a in range(len(request)):
        total += request[a]
    scale = capacity / total if total > capacity else 1.0
    for a in range(len(request)):
        out[a] = request[a] * scale


@rule
def shares_of_bids(bid, out):
    """out [A] = bid [A] over the sum of bids (Kelly 1997; Tullock 1980); nobody gets anything where nobody bids."""
    total = 0.0
    for a in range(len(bid)):
        total += bid[a]
    for a in range(len(bid)):
        out[a] = bid[a] / total if total > 0.0 else 0.0


@rule
def max_min(demand, weight, capacity, out):
    """Weighted max-min by water-filling: out [A] = min(demand [A], weight [A] x level), the level at which all is given.

    Weights are positive. With equal weights efficient, envy-free, strategy-proof, and nobody gets less than min(demand, capacity/A).
    The level is the capacity left over the weights of those unsatisfied, who can only become fewer: at most A passes.
    """
    level, settled = 0.0, -1
    for _ in range(len(demand) + 1):
        left, weights, satisfied = capacity, 0.0, 0
        for a in range(len(demand)):
            if demand[a] <= level * weight[a]:
                left -= demand[a]
                satisfied += 1
            else:
                weights += weight[a]
        if satisfied == settled or weights == 0.0:
            break
        settled = satisfied
        level = left / weights
    for a in range(len(demand)):
        out[a] = min(demand[a], level * weight[a])


@rule
def dominant_share(demand, capacity, a):
    """Largest share of a resource that a task of tenant a takes: demand [A, R] over capacity [R]."""
    most = 0.0
    for r in range(len(capacity)):
        most = max(most, demand[a, r] / capacity[r])
    return most


@rule
def fullest(demand, capacity, spare, tasks, limit):
    """How far the dominant shares of all who still grow can rise together, and who grows.

    A tenant grows while it has less than its limit of tasks and every resource that it needs has something to spare.
    """
    rise = 1e300
    for r in range(len(capacity)):
        rate = 0.0
        for a in range(len(tasks)):
            if grows(demand, capacity, spare, tasks, limit, a):
                rate += demand[a, r] / dominant_share(demand, capacity, a)
        if rate > 0.0:
            rise = min(rise, spare[r] / rate)
    for a in range(len(tasks)):
        if grows(demand, capacity, spare, tasks, limit, a):
            rise = min(rise, (limit[a] - tasks[a]) * dominant_share(demand, capacity, a))
    return rise


@rule
def grows(demand, capacity, spare, tasks, limit, a):
    room = tasks[a] < limit[a] * (1.0 - FULL) and dominant_share(demand, capacity, a) > 0.0
    for r in range(len(capacity)):
        room = room and (demand[a, r] <= 0.0 or spare[r] > FULL * capacity[r])
    return room


@apart
def dominant_resource_fairness(demand, limit, capacity, spare, moving, tasks):
    """tasks [A] by progressive filling: the dominant shares of all rise together until a resource is full or a limit is met.

    `demand` [A, R] of a task, `limit` [A] tasks, `capacity` [R]; `spare` [R] and `moving` [A] are scratch, `spare` ends as what is
    left over. Efficient, envy-free, strategy-proof, and nobody does worse than with 1/A of every resource. A pass fills a
    resource or meets a limit: at most A + R passes. Compiled apart from its callers: inlined it costs them many seconds.
    """
    for r in range(len(capacity)):
        spare[r] = capacity[r]
    for a in range(len(tasks)):
        tasks[a] = 0.0
    for _ in range(len(tasks) + len(capacity)):
        rise = fullest(demand, capacity, spare, tasks, limit)
        if rise >= 1e300:
            break
        for a in range(len(tasks)):
            moving[a] = 1.0 if grows(demand, capacity, spare, tasks, limit, a) else 0.0
        for a in range(len(tasks)):
            if moving[a] > 0.0:
                more = rise / dominant_share(demand, capacity, a)
                tasks[a] += more
                for r in range(len(capacity)):
                    spare[r] = max(0.0, spare[r] - more * demand[a, r])
