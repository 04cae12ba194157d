"""The agents of a foreign environment: who they are, in which groups, and how what they see, may do and do is read and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from marl import masks, spaces
from marl.errors import UserError
from marl.game import B1, Discrete, Role
from marl.replies import Malformed, info_of, told
from marl.runner import Failure, attempt


class Roster:
    """Agents with the same name stem and spaces form a role; `agents` are in the order of their roles, `row` says at which place."""

    def __init__(self, env: Any, name: str) -> None:
        traits: list[tuple[str, Any, Any]] = []
        members: list[list[Any]] = []
        read: list[tuple[spaces.Eye, spaces.Codec]] = []
        for agent in _everybody(env, name):
            trait = (_stem(agent), _space(env, "observation_space", agent, name), _space(env, "action_space", agent, name))
            if trait not in traits:
                codec = spaces.codec(trait[2], f"{agent} in {name}")
                traits.append(trait)
                members.append([])
                read.append((spaces.eye(trait[1], f"{agent} in {name}", codec.choices), codec))
            members[traits.index(trait)].append(agent)
        stems = [_stem(names[0]) for names in members]
        labels = [stem if stems.count(stem) == 1 else str(n[0]) for n, stem in zip(members, stems)]
        self.roles = [
            Role(label, len(names), eye.table, codec.table) for label, names, (eye, codec) in zip(labels, members, read, strict=True)
        ]
        self.agents = tuple(agent for names in members for agent in names)
        self.row = {agent: row for row, agent in enumerate(self.agents)}
        self.eyes = {agent: eye for names, (eye, _) in zip(members, read) for agent in names}
        self.codecs = {agent: codec for names, (_, codec) in zip(members, read) for agent in names}
        self.images = {role.name: eye.space.shape for role, (eye, _) in zip(self.roles, read)}

    def see(self, agent: Any, observations: Mapping[Any, Any]) -> npt.NDArray[Any]:
        """An agent's observation as a row [O]. Raises Malformed."""
        if agent not in observations:
            raise Malformed(f"observation of {agent} is missing")
        eye, given = self.eyes[agent], observations[agent]
        row = attempt(lambda: eye.see(given))
        if isinstance(row, Failure):
            raise Malformed(f"observation of {agent} = {told(given)}: {row}; one of {eye.space} is expected")
        if row.shape != (len(eye.table),):
            raise Malformed(f"observation of {agent} has {row.size} numbers, its space {len(eye.table)}")
        if not np.isfinite(row).all():
            raise Malformed(f"observation of {agent} is not finite, number {int(np.argmin(np.isfinite(row)))}")
        return row

    def legal(self, agent: Any, observations: Mapping[Any, Any], infos: Mapping[Any, Any]) -> B1 | None:
        """An agent's mask [M], beside its observation or in its info, None where there is none. Raises Malformed."""
        eye, codec, info = self.eyes[agent], self.codecs[agent], info_of(infos, agent)
        found = attempt(lambda: eye.beside(observations[agent]))
        name = eye.masked_by
        if found is None:
            name, info = masks.best(info), _joined(info, codec)
            name = masks.STANDARD if masks.STANDARD in info else name
            found = None if name is None or (not codec.choices and masks.kind(name) != masks.SURE) else info[name]
        if found is None or (masks.kind(name) == masks.PERHAPS and not masks.binary(found, codec.choices)):
            return None
        if masks.kind(name) == masks.LISTED and not masks.binary(found, codec.choices):
            wanted = f"{masks.STANDARD!r} with a 0 or 1 for each of the {codec.choices} choices is expected"
            raise Malformed(f"{name!r} of {agent} = {told(found)}: {wanted}")
        row = attempt(lambda: codec.mask(found))
        if isinstance(found, Failure) or isinstance(row, Failure):
            fault = found if isinstance(found, Failure) else row
            raise Malformed(f"{_spoken(name)} of {agent}: {fault.error if isinstance(fault.error, ValueError) else fault}")
        return row


def _joined(info: Mapping[Any, Any], codec: spaces.Codec) -> Mapping[Any, Any]:
    """The info with the masks of single columns (`marl.spaces.told_mask`) as one."""
    parts = [f"{masks.STANDARD}/{name}" for name, column in codec.table.items() if isinstance(column, Discrete)]
    if not parts or parts[0] not in info:
        return info
    return {masks.STANDARD: np.concatenate([info[part] for part in parts])}


def _spoken(name: Any) -> str:
    return "action mask" if name == masks.STANDARD else f"action mask {name!r}"


def _everybody(env: Any, name: str) -> list[Any]:
    found = attempt(lambda: list(dict.fromkeys(env.possible_agents)))
    if isinstance(found, Failure) or not found:
        what = found if isinstance(found, Failure) else "nobody"
        raise UserError(f"possible_agents of {name}: {what}; the names of all agents are expected")
    return found


def _space(env: Any, kind: str, agent: Any, name: str) -> Any:
    found = attempt(lambda: getattr(env, kind)(agent))
    if isinstance(found, Failure):
        raise UserError(f"{kind}({agent!r}) of {name}: {found}; a method that gives a gymnasium space is expected") from found.error
    return found


def _stem(agent: Any) -> str:
    return re.sub(r"_?\d+$", "", str(agent)) or str(agent)
