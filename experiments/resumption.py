"""`marl resume RUN`: continue a run from its last checkpoint, as if it had never stopped."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from experiments import run_data, training
from experiments.cli import load_modules, parser
from experiments.compose import Setup, accepted
from experiments.run_folder import RunFolder, config_hash, find, write
from experiments.stored import CHANGEABLE, check_unedited, earlier, stored
from marl.disk import claim
from marl.errors import UserError


def resume(run: str | Path, **overrides: Any) -> training.Result:
    """Continue the run in a folder to its end, or further with `total_steps=` or `total_episodes=`. Raises UserError."""
    return resume_lines(run, training.override_lines(overrides))


def resume_lines(run: str | Path, overrides: Sequence[str]) -> training.Result:
    """`resume` with `key=value` lines."""
    folder = find(Path(run))
    os.close(claim(folder.path))  # refused while another run writes here, before anything of it is touched
    run_data.refuse(folder)
    before = stored(folder)
    check_unedited(folder)
    setup = changed(folder, before, overrides)
    return training.execute(setup, folder, resume=True)


def changed(folder: RunFolder, before: Setup, overrides: Sequence[str]) -> Setup:
    """The run's configuration with the overrides that are legal on resume; written back to its folder."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    changes: dict[str, Any] = {}
    for override in OverridesParser.create().parse_overrides(accepted(overrides)):
        key, value = override.key_or_group, override.value()
        if key == "seed":
            kept = f"the random states of the run are in its checkpoint (seed {before.config['seed']})"
            print(f"marl: seed={value} is ignored: {kept}", file=sys.stderr)
        elif key not in CHANGEABLE:
            raise UserError(f"{key} = {value!r}: a run keeps its configuration, legal on resume are {', '.join(CHANGEABLE)}")
        else:
            _nest(changes, key, value)
    if not changes:
        return before
    setup = stored(folder, changes)
    _check_total(before, setup)
    _note(folder, setup, changes)
    return setup


def _note(folder: RunFolder, setup: Setup, changes: Mapping[str, Any]) -> None:
    """Write changes down, the manifest first: killed in between, the folder still has a configuration that the manifest knows."""
    manifest = folder.read_manifest()
    manifest["earlier_hashes"] = [*earlier(manifest), manifest["config_hash"]]
    manifest["config_hash"] = config_hash(setup.config)
    manifest["changes"] = [*manifest.get("changes", []), changes]
    write(folder.manifest, json.dumps(manifest, indent=2) + "\n")
    write(folder.config, yaml.safe_dump(dict(setup.config), sort_keys=False))


def _nest(changes: dict[str, Any], key: str, value: Any) -> None:
    *outer, last = key.split(".")
    for name in outer:
        changes = changes.setdefault(name, {})
    changes[last] = value


def _check_total(before: Setup, after: Setup) -> None:
    """A total may grow, in the unit that the run has."""
    for key in ("total_steps", "total_episodes"):
        old, new = before.config[key], after.config[key]
        if (old is None) != (new is None) or (old is not None and new < old):
            raise UserError(f"{key} = {new}: the run was made with {old}, a total keeps its unit and may only grow")


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parser("resume")
    options.usage = "marl resume [--module NAME] RUN [key=value ...]"
    options.description = (
        "Continue a run from last.pt, with the configuration and the random states that it has: what comes out is, byte for byte, the "
        "run that never stopped. A run that was killed before its first checkpoint starts again; one that is complete goes on where "
        "its total grows, and is evaluated anew."
    )
    options.epilog = "examples: marl resume runs/mine; marl resume runs/mine total_steps=2_000_000 early_stopping.patience=0"
    options.add_argument("run", metavar="RUN", help="run folder: what marl train printed, or was given as run_dir")
    options.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help=f"what may change: {', '.join(CHANGEABLE)}; a total may only grow"
    )
    given = options.parse_intermixed_args(list(arguments))
    load_modules(given.module)
    print(training.show(resume_lines(given.run, given.overrides)))
    return 0
