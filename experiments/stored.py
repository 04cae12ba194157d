"""The configuration of a run that exists, read back from its folder and checked like a new one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments import run_data
from experiments.cli import load_modules
from experiments.compose import Setup, composed, refused, resolve
from experiments.lineage import earlier
from experiments.run_folder import RunFolder, config_hash, find
from experiments.trust import brought, check
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.train import Run

CHOSEN = ("env", "algorithm", "curriculum")
CHANGEABLE = ("total_steps", "total_episodes", "early_stopping.patience", "log_level", "threads")
"""Keys that may differ in the rest of a run. Random states come from the checkpoint: a seed changes nothing."""


def stored(folder: RunFolder, changes: Mapping[str, Any] | None = None) -> Setup:
    """The run of config.yaml, with values replaced by `changes` (nested like the file). Raises UserError."""
    from omegaconf import OmegaConf

    values = folder.read_config()
    try:
        modules, factory = brought(values)
        choices = [f"{group}={values[group]['name'] or 'none'}" for group in CHOSEN]
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder.config}: key {error} is missing, a run's configuration is expected") from error
    if modules or factory:
        check_unedited(folder)
        check(values, folder.path)
        load_modules(modules, stored=True)
    values = run_data.found_again(folder, values)
    schema = composed(choices)
    if "kwargs" in schema.env:
        OmegaConf.set_struct(schema.env.kwargs, False)
    try:
        merged = OmegaConf.merge(schema, values, dict(changes or {}))
    except Exception as error:
        raise refused(error) from error
    return resolve(merged)


def check_unedited(folder: RunFolder) -> None:
    """A run is the configuration that it wrote, whether it is resumed or evaluated. Raises UserError where the file says otherwise."""
    manifest, found = folder.read_manifest(), config_hash(folder.read_config())
    if found != manifest["config_hash"] and found not in earlier(manifest):
        raise UserError(
            f"{folder.config} was edited (hash {found}, the run's is {manifest['config_hash']}): a run keeps its configuration, "
            f"undo the edit; changes are legal on the command line of marl resume, of {', '.join(CHANGEABLE)}"
        )


def to_play(folder: RunFolder) -> Setup:
    """The run of a folder, to load its policies: on the CPU, with a warning, where its own device is not here. Raises UserError."""
    from experiments.build import device

    run_data.tell(folder)
    setup = stored(folder)
    check_unedited(folder)
    try:
        device(setup.config["device"])
    except UserError as error:
        print(f"marl: warning: {folder.path} was trained on another device ({error}): its policies act on the cpu", file=sys.stderr)
        return replace(setup, config={**setup.config, "device": "cpu"})
    return setup


class Loaded(NamedTuple):
    """A run with its policies of a checkpoint: nothing collects or logs, copies are made of `run.make`."""

    setup: Setup
    run: Run
    step: int
    checkpoint: str


def opened(path: str | Path, games: Sequence[str] = ()) -> tuple[RunFolder, Setup]:
    """A run's folder and its configuration, of one of these games where some are named. Raises UserError."""
    folder = find(Path(path))
    setup = to_play(folder)
    if games and (setup.game is None or setup.game.name not in games):
        legal = f"legal {'is' if len(games) == 1 else 'are'} {' and '.join(games)}"
        raise UserError(f"--run {path}: env = {setup.config['env']['name']!r}, {legal}")
    return folder, setup


def loaded(path: str | Path, checkpoint: str = "result") -> Loaded:
    """The run in a folder with the policies of a checkpoint. Raises UserError."""
    from experiments.build import run_of

    folder, setup = opened(path)
    run = run_of(setup, folder)
    name, step = take(run, folder, checkpoint)
    return Loaded(setup, run, step, name)


def take(run: Run, folder: RunFolder, asked: str) -> tuple[str, int]:
    """Give a run its policies of a checkpoint; returns which and its step. Raises UserError, also for a best that has gone."""
    name = folder.checkpoint(asked)
    step = run.load(f"{name}.pt")
    run.close()  # evaluations play copies of their own
    if name != asked and name == "last" and run.has_best:
        raise UserError(f"{folder.best}: no such file, and the run had one; its last policies: --checkpoint last")
    return name, step
