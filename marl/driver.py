"""The loop over copies of a game: a source file generated once for a game and compiled once for every size.

Functions are not passed as arguments and state classes are importable under their own name, because numba's cache
never hits otherwise. numba does not see edits of functions that a cached function calls, so the folder of the driver,
and with it its cache, is named by a hash of everything that the rules reach.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numba
import numpy as np

from marl import cache, notice
from marl.cache import cache_folder
from marl.errors import UserError
from marl.game import HEAD, Game, Rule

OUT = (
    "low", "high", "whole", "offset", "weight", "action", "obs", "final_obs", "reward", "components", "cost", "status",
    "alive", "mask", "final_mask", "state", "final_state", "metrics", "residual",
)  # fmt: skip
"""Arrays that a driver reads and writes beside the state; `marl.vector` says what each holds."""

LONG = 4_000
"""Bytes of rules, without what they call, from which compiling them is a matter of a minute."""

COMPILERS = ("numba", "numpy", "math")
"""Modules whose functions are hashed by version instead of by source."""

# `one` is called, not inlined before types are inferred as its parts are: numba drops what is written directly inside a prange.
# What every tick calls is embedded: a call hands on every number and array of p and s, which took up to five times what the rules did.
# What a tick sees is written in one place for its two uses, as it is embedded as often as it is written.
TEMPLATE = '''\
"""Driver of the rules in {name}; generated, edits are lost."""

from typing import Any, NamedTuple

from numba import njit, prange

from marl.compiled import OPTIONS, embedded, rule
{imports}


class State(NamedTuple):
{state}


class Numbers(NamedTuple):
{numbers}


class Out(NamedTuple):
{out}


@njit(inline="always", **OPTIONS)
def settle(o, b):
    for a in range(o.action.shape[1]):
        for u in range(o.action.shape[2]):
            x = min(max(o.action[b, a, u], o.low[a, u]), o.high[a, u])
            if o.whole[a, u]:
                x = float(int(x + 0.5)){legal}
            o.action[b, a, u] = x


@njit(inline="always", **OPTIONS)
def look(p, s, o, b, obs, mask, state):
    observe(p, s, b, obs){mask}{overview}


@rule
def one(p, s, o, b):
    settle(o, b)
    for a in range(o.reward.shape[1]):
        for r in range(o.components.shape[2]):
            o.components[b, a, r] = 0.0
        for c in range(o.cost.shape[2]):
            o.cost[b, a, c] = 0.0
        {alive}
    status = step(p, s, b, o.action, o.components, o.cost)
    s.t[b] += 1
    o.status[b] = status
    for a in range(o.reward.shape[1]):
        total = 0.0
        for r in range(o.components.shape[2]):
            total += o.weight[r] * o.components[b, a, r]
        o.reward[b, a] = total{living}{balance}
    for turn in range(2):
        look(p, s, o, b, o.obs, o.mask, o.state)
        if turn == 1:
            break
        for a in range(o.obs.shape[1]):
            for c in range(o.obs.shape[2]):
                o.final_obs[b, a, c] = o.obs[b, a, c]
            for c in range(o.mask.shape[2]):
                o.final_mask[b, a, c] = o.mask[b, a, c]
        for c in range(o.state.shape[1]):
            o.final_state[b, c] = o.state[b, c]
        if status == 0:
            break
        measure(p, s, b, o.metrics)
        s.episode[b] += 1
        open_episode(p, s, o, b)


@njit(inline="always", **OPTIONS)
def open_episode(p, s, o, b):
    s.t[b] = 0
    begin(p, s, b)
    for a in range(o.alive.shape[1]):
        o.alive[b, a] = True


@njit(cache={cache}, nogil=True, **OPTIONS)
def start(p, s, o, copies):
    for i in range(len(copies)):
        open_episode(p, s, o, copies[i])
        look(p, s, o, copies[i], o.obs, o.mask, o.state)


@njit(cache={cache}, nogil=True, **OPTIONS)
def serial(p, s, o):
    for b in range(len(o.status)):
        one(p, s, o, b)


@njit(cache={cache}, nogil=True, parallel=True, **OPTIONS)
def parallel(p, s, o):
    for b in prange(len(o.status)):
        one(p, s, o, b)
'''

SELDOM = ("begin", "measure")
"""Rules that an episode calls once: called, where the game does not say otherwise, as their code is long."""

LEGAL = """
                if o.offset[a, u] >= 0 and not o.mask[b, a, o.offset[a, u] + int(x)]:
                    for k in range(int(o.high[a, u]), -1, -1):
                        if o.mask[b, a, o.offset[a, u] + k]:
                            x = float(k)"""
MASK = """
    for a in range(mask.shape[1]):
        for c in range(mask.shape[2]):
            mask[b, a, c] = True
    mask_rule(p, s, b, mask)"""


def _rules(game: Game) -> dict[str, Rule]:
    """Name in the driver -> the game's function, for those it has."""
    rules = {"begin": game.begin, "step": game.step, "observe": game.observe, "measure": game.measure}
    optional = {"mask_rule": game.mask, "living": game.living, "overview": game.overview, "balance": game.balance}
    return rules | {name: rule for name, rule in optional.items() if rule is not None}


def _plain(rule: Rule) -> Any:
    return getattr(rule, "py_func", rule)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def numbers_of(game: Game) -> list[str]:
    """Parameters, derived values and tables that the rules read, in order: others would only make them compile longer."""
    read, names = _reached(game)[2], game.params.number_names()
    return names if numba.config.DISABLE_JIT else [name for name in names if name in read]  # uncompiled rules cannot be walked


def _reached(game: Game) -> tuple[set[str], list[str], set[str]]:
    """Files of all functions that the rules reach, the values of all constants they read, and all names in them."""
    files: set[str] = set()
    names: set[str] = set()
    constants: list[str] = []
    queue, seen = [_plain(rule) for rule in _rules(game).values()], set()
    while queue:
        function = queue.pop()
        if function in seen:
            continue
        seen.add(function)
        files.add(function.__code__.co_filename)
        names |= set(_names(function.__code__))
        for name in sorted(set(_names(function.__code__))):
            value = function.__globals__.get(name)
            if hasattr(value, "py_func"):
                queue.append(value.py_func)
            elif isinstance(value, ModuleType):
                if value.__name__.split(".")[0] not in COMPILERS:
                    queue += [v.py_func for v in vars(value).values() if hasattr(v, "py_func")]
                    files |= {value.__file__} if value.__file__ else set()
            elif isinstance(value, np.ndarray):
                constants.append(f"{name}={value.dtype.str}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}")
            elif value is not None and not callable(value):
                constants.append(f"{name}={value!r}")
    return files, sorted(constants), names


def reached_files(game: Game) -> set[str]:
    """Source files of all functions that the rules reach."""
    return _reached(game)[0]


def fingerprint(game: Game, text: str) -> str:
    """Hash of the driver's text, of every file and constant that the rules reach, and of the compiler's version."""
    files, constants, _ = _reached(game)
    digest = hashlib.sha256("\n".join([text, *constants, numba.__version__, np.__version__, sys.version]).encode())
    for file in sorted(files):
        digest.update(Path(file).read_bytes() if Path(file).exists() else file.encode())
    return digest.hexdigest()[:16]


def source(game: Game) -> str:
    """The driver's text."""
    rules = _rules(game)
    imports = []
    for name, rule in rules.items():
        function = _plain(rule)
        if "<" in function.__qualname__:
            raise UserError(
                f"game {game.name!r}: rule {function.__qualname__} must stand at the top of a module, so that it can be imported"
            )
        imports.append(f"from {function.__module__} import {function.__name__} as {name}")
        if name not in SELDOM:
            imports.append(f"{name} = embedded({name})")
    fields = [*HEAD, *game.state_fields()]
    numbers = numbers_of(game)
    return TEMPLATE.format(
        name=_plain(game.step).__module__,
        imports="\n".join(imports),
        state="\n".join(f"    {f}: Any" for f in fields),
        numbers="\n".join(f"    {f}: Any" for f in numbers) or "    pass",  # rules may read no parameter
        out="\n".join(f"    {f}: Any" for f in OUT),
        cache="__main__" not in {_plain(rule).__module__ for rule in rules.values()},
        legal=LEGAL if "mask_rule" in rules else "",
        mask=MASK if "mask_rule" in rules else "",
        overview="\n    overview(p, s, b, state)" if "overview" in rules else "",
        alive="o.alive[b, a] = True" if "living" in rules else "pass",
        living="\n    living(p, s, b, o.alive)" if "living" in rules else "",
        balance="\n    balance(p, s, b, o.residual)" if "balance" in rules else "",
    )


def load(game: Game) -> ModuleType:
    """The driver of a game as a module: written where it is new, imported once a process. Games of the same rules share it."""
    text = source(game)
    mark = fingerprint(game, text)
    family = _plain(game.step).__module__.replace(".", "_")
    name = f"marl_driver_{family}_{mark}"
    if name in sys.modules:
        return sys.modules[name]
    file = cache.driver_file(name, f"{family}_{mark}", text)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        _filled(module, text, file)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _filled(module: ModuleType, text: str, file: Path) -> None:
    """Run the driver's text, not what a file says that something may have damaged since; without a cache where numba finds no place."""
    try:
        exec(compile(text, file, "exec"), module.__dict__)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        notice.say(f"compiled rules cannot be kept ({error}): every process compiles them")
        exec(compile(text.replace("cache=True", "cache=False"), file, "exec"), module.__dict__)


def ready(game: Game, module: ModuleType, loop: str, arguments: tuple[Any, ...]) -> Callable[..., None]:
    """A loop of a game's driver for arguments of these types, found or compiled once; uncompiled (NUMBA_DISABLE_JIT=1) as it is."""
    function = getattr(module, loop)
    if numba.config.DISABLE_JIT:
        return function
    return cache.ready(function, arguments, game.name, "about a minute" if _long(game) else "some seconds")


def _long(game: Game) -> bool:
    """Whether there is much to compile."""
    return sum(len(_plain(rule).__code__.co_code) for rule in _rules(game).values()) > LONG


__all__ = ["cache_folder", "fingerprint", "load", "numbers_of", "reached_files", "ready", "source"]
