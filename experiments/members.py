"""`marl train` of an ensemble: its members, each an experiment, are trained in turn, then evaluated as one and beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments import ensembles, resumption, training
from experiments.compose import Setup, compose, in_folder
from experiments.ensembles import Asked
from experiments.run_folder import RunFolder
from experiments.schema import EPISODES
from marl.errors import UserError

CHOSEN_HERE = ("experiment", "run_dir", "ensemble.members", "ensemble.kind")
"""Keys of the command that are not handed on to the members."""
REPORT = "ensemble.json"


def train(setup: Setup, overrides: Sequence[str]) -> str:
    """Train the members that `setup` names, with the `key=value` overrides that it was made of; returns the report as text.

    Each has a folder of its name in `run_dir`. One that is there already is resumed. Raises UserError before anything is trained
    where a member is refused.
    """
    kind, names = setup.config["ensemble"]["kind"], setup.config["ensemble"]["members"]
    root = Path(setup.config["run_dir"])
    if len(set(names)) < len(names):
        raise UserError(f"ensemble.members = [{', '.join(names)}]: every member once is expected, its folder has its name")
    given = [line for line in overrides if line.partition("=")[0] not in CHOSEN_HERE]
    members = {name: compose([f"experiment={name}", *given, in_folder(root / name)]) for name in names}
    for name, member in members.items():
        if member.config["ensemble"]["members"]:
            raise UserError(f"ensemble.members: {name} is an ensemble itself, legal are experiments of one run")
    for name, member in members.items():
        print(f"{name}, a member of the ensemble, in {root / name}", flush=True)
        if RunFolder(root / name).config.exists():
            resumption.resume(root / name)
        else:
            training.begin(member)
    asked = Asked(kind, output=root / REPORT)
    told = ensembles.command([str(root / name) for name in names], asked, setup.config["evaluation"]["episodes"] or EPISODES, "result")
    return f"{told}\nrun folders: {root}/{{{','.join(names)}}}, report: {root / REPORT}"
