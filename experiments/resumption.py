"""`marl resume RUN`: continue a run from its last checkpoint, as if it had never stopped."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import run_data, training
from experiments.cli import load_modules, parser
from experiments.compose import Setup, accepted
from experiments.lineage import note
from experiments.run_folder import RunFolder, find
from experiments.stored import CHANGEABLE, check_unedited, stored
from marl.errors import UserError


def resume(run: str | Path, **overrides: Any) -> training.Result:
    """Continue the run in a folder to its end, or further with `total_steps=` or `total_episodes=`. Raises UserError."""
    return resume_lines(run, training.override_lines(overrides))


def resume_lines(run: str | Path, overrides: Sequence[str]) -> training.Result:
    """`resume` with `key=value` lines."""
    with find(Path(run)).held() as folder:  # refused while another run writes here
        run_data.refuse(folder)
        before = stored(folder)
        check_unedited(folder)
        setup, changes = changed(folder, before, overrides)

        def resumed() -> None:
            if changes:
                note(folder, setup.config, changes)

        return training.execute(setup, folder, resume=True, resumed=resumed)


def changed(folder: RunFolder, before: Setup, overrides: Sequence[str]) -> tuple[Setup, Mapping[str, Any]]:
    """The run's configuration with the overrides that are legal on resume, and these as a nested table."""
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
        return before, {}
    setup = stored(folder, changes)
    _check_total(before, setup, changes)
    return setup, changes


def _nest(changes: dict[str, Any], key: str, value: Any) -> None:
    *outer, last = key.split(".")
    for name in outer:
        changes = changes.setdefault(name, {})
    changes[last] = value


def _check_total(before: Setup, after: Setup, changes: Mapping[str, Any]) -> None:
    """A total may grow, in the unit that the run has; null is no total, also where the default would stand in for it."""
    for key in ("total_steps", "total_episodes"):
        old, new = before.config[key], changes.get(key, after.config[key])
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
