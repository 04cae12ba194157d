"""What a cluster is made of, written as short texts: nodes, demands of job classes, their work and value. And a trace cut into ticks."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from envs.resource_allocation.data import SYNTHETIC, Trace, read_trace
from marl.content import read_once
from marl.errors import UserError
from marl.game import F8, I8

MOST_NODES, MOST_RESOURCES, MOST_CLASSES, MOST_UNITS = 256, 8, 8, 1e6


class Layout(NamedTuple):
    capacity: I8  # [N, R] units of each node
    demand: I8  # [K, R] units of a job
    work: F8  # [K] mean ticks
    worth: F8  # [K] utility of a finished job
    slots: int  # jobs that can run at once, at most


class Requests(NamedTuple):
    first: I8  # [T + 1] number of the first request of each tick; the last entry is the number of requests
    kinds: I8  # [M] class
    works: I8  # [M] ticks of work
    mean: F8  # [R] expected units x ticks of a request


@lru_cache(maxsize=256)
def layout(nodes: str, demand: str, work: str, value: str) -> Layout:
    """The cluster that the four texts of the parameters of these names describe. Raises UserError."""
    groups = whole("nodes", nodes)
    capacity = np.repeat(groups[:, 1:], groups[:, 0], axis=0)
    takes, works, worths = whole("demand", demand), row("work", work, 1.0), row("value", value, 0.0)
    if not 1 <= len(capacity) <= MOST_NODES or not 1 <= capacity.shape[1] <= MOST_RESOURCES or (capacity.sum(0) == 0).any():
        raise UserError(f"nodes = {nodes!r}: 1 to {MOST_NODES} nodes with 1 to {MOST_RESOURCES} resources, some of each, are expected")
    if takes.shape[1] != capacity.shape[1]:
        raise UserError(f"demand = {demand!r}: {capacity.shape[1]} numbers a class are expected, as many as resources of nodes = {nodes!r}")
    if len(takes) > MOST_CLASSES or (takes.sum(1) == 0).any():
        raise UserError(f"demand = {demand!r}: 1 to {MOST_CLASSES} classes that each take something are expected")
    for name, given, found in (("work", work, works), ("value", value, worths)):
        if len(found) != len(takes):
            raise UserError(f"{name} = {given!r}: {len(takes)} numbers are expected, one for each class of demand = {demand!r}")
    for k, job in enumerate(takes):
        if not (capacity >= job).all(1).any():
            raise UserError(f"demand = {demand!r}: class {k} fits on no node of nodes = {nodes!r}")
    return Layout(capacity, takes, works, worths, _slots(capacity, takes))


def _slots(capacity: I8, demand: I8) -> int:
    """An upper bound of the jobs that run at once: on each node by the scarcest of the resources that every class takes, else by all."""
    least = demand.min(0)
    if least.any():
        return int((capacity[:, least > 0] // least[least > 0]).min(1).sum())
    return int(sum(capacity[:, r].sum() // demand[demand[:, r] > 0, r].min() for r in range(demand.shape[1]) if demand[:, r].any()))


def numbers(name: str, text: str, low: float, high: float) -> F8:
    """Rows of numbers [rows, columns] in a text like `1 2 / 4 1`. Raises UserError."""
    try:
        rows = [[float(cell) for cell in line.split()] for line in text.split("/")]
    except ValueError:
        rows = [[]]
    if not all(line and len(line) == len(rows[0]) and all(low <= x <= high for x in line) for line in rows):
        raise UserError(f"{name} = {text!r}: rows of numbers in [{low:g}, {high:g}] of one length, parted by /, are expected")
    return np.array(rows)


def whole(name: str, text: str) -> I8:
    """The same of whole numbers from 0 on."""
    found = numbers(name, text, 0, MOST_UNITS)
    if (found != np.floor(found)).any():
        raise UserError(f"{name} = {text!r}: whole numbers are expected")
    return found.astype(np.int64)


def row(name: str, text: str, low: float) -> F8:
    """One row of numbers from `low` on, [columns]."""
    found = numbers(name, text, low, MOST_UNITS)
    if len(found) != 1:
        raise UserError(f"{name} = {text!r}: one row of numbers is expected")
    return np.asarray(found[0])


def cut(path: str, holdout: float, test: bool, load: float, per_token: float, takes: Layout, mark: str = "") -> Requests:
    """The trace's part in ticks. A tick is as long as makes the first part's expected demand `load` times the scarcest resource's capacity.

    A request's work is one tick and one more for each `per_token` generated tokens; its class is by terciles (or what part
    of K classes it falls in) of the first part's context tokens, so that class K - 1 has the longest. `mark`: see `read_once`.
    """
    shape = takes.capacity.tobytes(), takes.demand.tobytes(), takes.demand.shape
    found: Requests = _cut(path, holdout, test, load, per_token, *shape, mark=mark)
    return found


@read_once(32, built_in=SYNTHETIC)
def _cut(
    path: str, holdout: float, test: bool, load: float, per_token: float, capacity: bytes, demand: bytes, shape: tuple[int, int]
) -> Requests:
    trace, jobs = read_trace(path), np.frombuffer(demand, np.int64).reshape(shape)
    total = np.frombuffer(capacity, np.int64).reshape(-1, shape[1]).sum(0)
    border = max(1, int(len(trace.arrival) * (1 - holdout)))
    edges = np.quantile(trace.context[:border], np.arange(1, shape[0]) / shape[0])
    kinds, works = np.searchsorted(edges, trace.context, side="left"), 1 + (trace.generated / per_token).astype(np.int64)
    mean = (jobs[kinds[:border]] * works[:border, None]).mean(0)
    span = trace.arrival[border] - trace.arrival[0]
    if span <= 0:
        raise UserError(f"{path}: its first {border} requests come in the same second, a span of time is expected")
    seconds = load / float((mean / total).max()) * span / border
    part = slice(border, None) if test else slice(0, border)
    begin = trace.arrival[border] if test else trace.arrival[0]
    return _ticks(trace, part, begin, seconds, kinds, works, mean)


def _ticks(trace: Trace, part: slice, begin: float, seconds: float, kinds: I8, works: I8, mean: F8) -> Requests:
    tick = ((trace.arrival[part] - begin) / seconds).astype(np.int64)
    first = np.searchsorted(tick, np.arange(int(tick[-1]) + 2))
    return Requests(first.astype(np.int64), kinds[part].astype(np.int64), works[part], mean)
