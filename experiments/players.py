"""The policies of a run, read from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tianshou.algorithm.algorithm_base import Policy as Member
from tianshou.data import Batch

import algorithms
from experiments.build import copies_of, curriculum_of, device
from experiments.compose import Setup
from experiments.run_folder import RunFolder
from marl import checkpoint
from marl.errors import UserError
from marl.team import Part, Team, parts, scripted

CHECKPOINTS = ("best", "last")


@dataclass(frozen=True)
class Players:
    """Who plays which part, at which environment step they were saved, and the parameters of the curriculum's stage then."""

    plan: Mapping[str, Part]
    policies: Mapping[str, Member]
    step: int
    stage: Mapping[str, Any]


def load(setup: Setup, folder: RunFolder, which: str = "best") -> Players:
    """The policies of best.pt or last.pt. Raises UserError where the file is missing, truncated or of another version."""
    if which not in CHECKPOINTS:
        raise UserError(f"checkpoint = {which!r}: legal are {', '.join(CHECKPOINTS)}")
    saved = checkpoint.load(folder.best if which == "best" else folder.last)
    stage = _stage(setup, folder)
    copies = copies_of(setup)(stage, 1)
    config, rivals = setup.config, setup.config["opponents"]
    plan = parts(copies, setup.settings.sharing, None if rivals is None else 1)
    frozen = {name: scripted(copies, part, rivals, config["seed"]) for name, part in plan.items() if name.endswith("_rivals")}
    make = algorithms.load(config["algorithm"]["name"])
    learners = {n: make(setup.settings, p, 1).to(device(config["device"])) for n, p in plan.items() if n not in frozen}
    team = Team(plan, learners, frozen)
    team.load_state_dict(saved["team"])
    copies.close()
    step = saved["step"] if which == "best" else saved["trainer"][1]
    return Players(plan, {name: team.member(name) for name in plan}, step, stage)


def _stage(setup: Setup, folder: RunFolder) -> Mapping[str, Any]:
    """Parameters of the stage that the run's curriculum is in."""
    curriculum = curriculum_of(setup)
    if curriculum is None:
        return {}
    curriculum.load_state_dict(checkpoint.load(folder.last)["curriculum"])
    return curriculum.params


class Policy:
    """What a run learned, for use: actions at their mode, in the units of the action table."""

    def __init__(self, players: Players) -> None:
        self._players = players

    def act(self, obs: npt.ArrayLike, part: str | None = None, mask: npt.ArrayLike | None = None) -> npt.NDArray[Any]:
        """Actions [N, U] for observations [N, O] of agents of a part, with mask [N, M] where the game masks choices.

        `part` may be left out where there is one (all agents share, or the game has one role). Raises UserError.
        """
        plan = self._players.plan
        name = next(iter(plan)) if part is None and len(plan) == 1 else part
        if name is None or name not in plan:
            raise UserError(f"part = {part!r}: legal are {', '.join(plan)}")
        columns = [np.asarray(obs, np.float32)] + ([np.asarray(mask, np.float32)] if mask is not None else [])
        rows = np.concatenate(columns, -1)
        if rows.ndim != 2 or rows.shape[1] != plan[name].width:
            raise UserError(f"observations of {name} have shape {rows.shape}: expected [N, {plan[name].width}]")
        policy = self._players.policies[name]
        policy.eval()
        with torch.no_grad():
            out = policy(Batch(obs=torch.from_numpy(np.ascontiguousarray(rows)), info=Batch())).act
        return np.asarray(policy.map_action(out))
