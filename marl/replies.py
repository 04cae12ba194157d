"""What a foreign environment answers to `reset`, `step` and `state`, read; what is malformed is one line: what came, what is expected."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.game import F4
from marl.runner import Failure, attempt

ALL = "__all__"
"""RLlib's key for the end of everybody."""
NUMBERS = "fiub"
"""Kinds of NumPy arrays that count as numbers."""
OLD = {4: " (PettingZoo before 1.22 gave four, with dones)"}
STEP = "observations, rewards, terminations, truncations and infos, dicts by agent, are expected"


class Malformed(Exception):
    """An answer that breaks the PettingZoo contract; the text is one line."""


class Reply(NamedTuple):
    """What a step said of the agents that acted, numbers as numbers; observations and infos may have entries of others."""

    observations: Mapping[Any, Any]
    rewards: dict[Any, float]
    terminated: dict[Any, bool]
    truncated: dict[Any, bool]
    infos: Mapping[Any, Any]


def told(value: Any) -> str:
    """A value in a few words."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def opening(result: Any) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
    """(observations, infos) of a reset. Raises Malformed."""
    if isinstance(result, Failure):
        raise Malformed(str(result))
    wanted = "a pair (observations, infos) of dicts by agent is expected"
    if isinstance(result, Mapping):
        raise Malformed(f"reset gave a dict, observations alone (PettingZoo before 1.23): {wanted}")
    if not isinstance(result, tuple | list) or len(result) != 2:
        what = f"{len(result)} values" if isinstance(result, tuple | list) else told(result)
        raise Malformed(f"reset gave {what}: {wanted}")
    return _dict("observations", result[0]), _dict("infos", result[1])


def reply(result: Any, acted: Collection[Any], known: Collection[Any]) -> Reply:
    """A step's answer about the agents that acted, of those `known` to the environment. Raises Malformed.

    Rewards and ends of others are refused by name, for they would be lost; of those who ended before they are passed over.
    """
    if isinstance(result, Failure):
        raise Malformed(str(result))
    if not isinstance(result, tuple | list) or len(result) != 5:
        what = f"{len(result)} values{OLD.get(len(result), '')}" if isinstance(result, tuple | list) else told(result)
        raise Malformed(f"step gave {what}: {STEP}")
    observations, rewards, terminated, truncated, infos = result
    _dict("observations", observations)
    given = {"reward": _dict("rewards", rewards), "termination": _dict("terminations", terminated)}
    given["truncation"] = _dict("truncations", truncated)
    for name, values in given.items():
        missing = [agent for agent in acted if agent not in values]
        if missing:
            raise Malformed(f"{name} of {missing[0]} is missing")
        strange = [key for key in values if key not in known and not (key == ALL and name != "reward")]
        if strange:
            raise Malformed(f"{name}s have the key {strange[0]!r}, which is none of possible_agents")
    paid = {agent: number(f"reward of {agent}", rewards[agent]) for agent in acted}
    over, cut = ({agent: _flag(f"{name} of {agent}", given[name][agent]) for agent in acted} for name in ("termination", "truncation"))
    going = [agent for agent in acted if not (over[agent] or cut[agent])]
    for name in ("termination", "truncation"):
        if going and ALL in given[name] and _flag(f"{name}s[{ALL!r}]", given[name][ALL]):
            raise Malformed(f"{name}s[{ALL!r}] is true, but {going[0]} goes on: an agent's end is told by its own key")
    return Reply(observations, paid, over, cut, _dict("infos", infos))


def present(env: Any, known: Collection[Any]) -> list[Any]:
    """The environment's present agents. Raises Malformed."""
    found = attempt(lambda: list(env.agents))
    if isinstance(found, Failure):
        raise Malformed(f"its agents: {found}; a list of those who act next is expected")
    for agent in found:
        if not isinstance(agent, Hashable) or agent not in known:
            raise Malformed(f"agent {agent!r} is none of possible_agents")
        if found.count(agent) > 1:
            raise Malformed(f"agent {agent!r} is twice among the environment's agents")
    return found


def who_goes_on(acted: Collection[Any], said: Reply, agents: Collection[Any]) -> list[Any]:
    """Those of who acted that did not end, all still among the environment's `agents`. Raises Malformed."""
    going = [agent for agent in acted if not (said.terminated[agent] or said.truncated[agent])]
    lost = [agent for agent in going if agent not in agents]
    if lost:
        where = "no agents are left, but" if not agents else "gone is"
        raise Malformed(f"{where} {lost[0]}{'' if not agents else ', which'} neither terminated nor truncated")
    return going


def info_of(infos: Mapping[Any, Any], agent: Any) -> Mapping[Any, Any]:
    """An agent's info, empty where it has none. Raises Malformed."""
    info = infos.get(agent)
    if info is not None and not isinstance(info, Mapping):
        raise Malformed(f"info of {agent} = {told(info)}: a dict is expected")
    return info or {}


def number(what: str, value: Any) -> float:
    """One finite number, also in an array or list of one. Raises Malformed."""
    if isinstance(value, float | int | np.number):
        found = float(value)
    else:
        row = _array(value)
        if row.dtype.kind not in NUMBERS:
            raise Malformed(f"{what} = {told(value)}: a number is expected")
        if row.size != 1:
            remedy = "a vector of objectives is made one number by a wrapper like MOMAland's LinearizeReward"
            raise Malformed(f"{what} has {row.size} numbers: one is expected; {remedy}")
        found = float(row.reshape(-1)[0])
    if not np.isfinite(found):
        raise Malformed(f"{what} is not finite")
    return found


def row_of(what: str, value: Any) -> F4:
    """An array of finite numbers as a row, in float32. Raises Malformed."""
    row = _array(value).reshape(-1)
    if row.dtype.kind not in NUMBERS:
        raise Malformed(f"{what} is {told(value)}: an array of numbers is expected")
    with np.errstate(over="ignore"):
        narrow = row.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise Malformed(f"{what} is not finite, number {int(np.argmin(np.isfinite(narrow)))}")
    return narrow


def _array(value: Any) -> npt.NDArray[Any]:
    """The value as an array; of no numbers where it cannot be one (rows of several lengths, tensors that are not at hand)."""
    found = attempt(lambda: np.asarray(value))
    return np.array(None) if isinstance(found, Failure) else found


def _flag(what: str, value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    row = _array(value)
    if row.size != 1 or row.dtype.kind not in NUMBERS or row.reshape(-1)[0] not in (0, 1):
        raise Malformed(f"{what} = {told(value)}: true or false is expected")
    return bool(row.reshape(-1)[0])


def _dict(name: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise Malformed(f"{name} are {told(value)}: a dict by agent is expected")
    return value
