"""Traces of requests as columns. Schema, a text table with a header (`envs.files`), plain or packed:

t_s (arrival, seconds, not decreasing), context_tokens and generated_tokens (whole numbers). Other columns are ignored. It is that
of the Azure LLM inference traces of 2023 (Azure Public Dataset, CC BY 4.0), of which the built-in synthetic trace has some facts.
"""

from __future__ import annotations

import csv
import gzip
from array import array
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from envs.files import number, table, whole
from marl.content import read_once, warn
from marl.errors import UserError
from marl.game import F8, I8

COLUMNS = ("t_s", "context_tokens", "generated_tokens")
NAMED = {"t_s": (), "context_tokens": ("contexttokens",), "generated_tokens": ("generatedtokens",)}
"""The columns, and other names of theirs."""
RARE, DENSE = 60.0, 1e-4
"""Mean seconds between requests beyond which a trace looks as if its times were in another unit."""
SYNTHETIC = "synthetic"
ROWS, RATE = 4_000, 5.53
"""Requests, and requests a second, of the built-in trace; the rate is that of the conversation trace."""
CONTEXT, GENERATED = (6.63, 0.985, 14_050), (5.02, 0.859, 1_000)
"""Mean and standard deviation of the logarithm of tokens, and their maximum, in the conversation trace."""
BURST, BURST_SHARE, BURST_LENGTH = 4.0, 0.1, 20.0
"""Of the built-in trace, ours: rate within bursts over the mean rate, share of the time in bursts, their mean seconds."""
FARTHEST = 1e9
"""Largest second and number of tokens of a trace, so that sums stay exact."""


class Trace(NamedTuple):
    """Requests in order of arrival."""

    arrival: F8  # [N] seconds from the first on
    context: I8  # [N] tokens
    generated: I8  # [N] tokens


def read_trace(path: str, mark: str = "") -> Trace:
    """The trace in a file, or the built-in synthetic one where the path is `synthetic`.

    Raises UserError that names file, line and column for missing columns, broken lines and illegal values. `mark`: see `read_once`.
    """
    if path == SYNTHETIC:
        return synthetic_trace()
    found: Trace = _read(path, mark=mark)
    return found


@lru_cache(maxsize=8)
def synthetic_trace(rows: int = ROWS, rate: float = RATE, seed: int = 0) -> Trace:
    """Requests by seeded laws: exponential gaps whose rate switches between quiet and burst, capped lognormal tokens."""
    generator = np.random.default_rng(seed)
    quiet = rate * (1 - BURST_SHARE * BURST) / (1 - BURST_SHARE)
    times, now, bursting, until = np.zeros(rows), 0.0, False, 0.0
    for i in range(rows):
        gap = generator.exponential(1 / (rate * BURST if bursting else quiet))
        while now + gap > until:  # the rate changes before the request comes: exponential gaps begin anew
            now, bursting = until, not bursting if until else generator.random() < BURST_SHARE
            until = now + generator.exponential(BURST_LENGTH * (1.0 if bursting else (1 - BURST_SHARE) / BURST_SHARE))
            gap = generator.exponential(1 / (rate * BURST if bursting else quiet))
        now += gap
        times[i] = now
    tokens = [_tokens(generator, rows, *law) for law in (CONTEXT, GENERATED)]
    return _frozen(Trace(np.round(times - times[0], 4), *tokens))


def _tokens(generator: np.random.Generator, rows: int, location: float, sd: float, cap: int) -> I8:
    return np.clip(np.exp(generator.normal(location, sd, rows)), 1, cap).astype(np.int64)


def _frozen(trace: Trace) -> Trace:
    for column in trace:
        column.flags.writeable = False
    return trace


@read_once(8)
def _read(path: str) -> Trace:
    header, rows = table(path, NAMED)
    at = header.places(NAMED)
    times, tokens = array("d"), (array("q"), array("q"))
    for line, cells in rows:
        time = number(path, line, COLUMNS[0], cells[at[0]], 0, FARTHEST)
        if times and time < times[-1]:
            raise UserError(f"{path}, line {line}, column 't_s': {time:g} after {times[-1]:g}, arrivals in order are expected")
        times.append(time)
        for column, i, own in zip(COLUMNS[1:], at[1:], tokens):
            own.append(whole(path, line, column, cells[i], 0, FARTHEST, " of tokens"))
    if len(times) < 2:
        raise UserError(f"{path}: {len(times)} requests after the header, at least two are expected")
    if times[-1] <= times[0]:
        raise UserError(f"{path}, column 't_s': all requests come at second {times[0]:g}, a span of time is expected")
    gap = (times[-1] - times[0]) / (len(times) - 1)
    if not DENSE <= gap <= RARE:
        warn(f"{path}, column 't_s': a request in {gap:.3g} seconds on average: are the times in another unit than seconds?")
    arrival = np.array(times)
    return _frozen(Trace(arrival - arrival[0], *(np.array(own, np.int64) for own in tokens)))


def write_trace(path: str, trace: Trace) -> None:
    """Write a trace as `read_trace` reads it, packed where the path ends in `.gz`."""
    pack: Any = gzip.open if path.endswith(".gz") else open
    with pack(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(zip(*(column.tolist() for column in trace)))


def generate(path: str, rows: int, seed: int) -> None:
    """Write a synthetic trace of so many requests: what `marl generate allocation_log` does."""
    write_trace(path, synthetic_trace(rows, RATE, seed))
