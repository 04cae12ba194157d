"""`marl train`: a run from its configuration to its summary, and the same thing from Python."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import build, foresight, run_data, run_folder, runlog
from experiments.cli import load_modules, parser
from experiments.compose import Setup, accepted, compose
from experiments.lineage import note_code
from experiments.run_folder import RunFolder
from marl import notice
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.actor import Actor
    from marl.schedule import Outcome, Progress

log = logging.getLogger("marl.run")


MODULES = re.compile(r"modules=\[([\w., ]*)\]")
"""The override that names modules, as a list of dotted names."""
RESPONSE = 20
"""Share of a run's steps that a best response to what it learned is trained for, where nothing is said: one in so many."""


@dataclass(frozen=True)
class Result:
    """A finished run: the score of its result (its mean return where the game has no reference), its folder, its policy.

    The result is the best policy of a team that is paid together or of a single learner, and else the last (`marl.train.Run.chooses`).

    `notes` say where trackers have the run.

    `policy.act(obs)` takes observations by agent name, or arrays. `speed`: environment steps a second, evaluations included.
    """

    best_score: float
    run_dir: Path
    policy: Actor
    report: Mapping[str, Any]
    speed: float | None
    notes: tuple[str, ...] = ()


def train(env: str, algorithm: str, modules: Sequence[str] = (), **overrides: Any) -> Result:
    """Train as `marl train env=... algorithm=...` does; `modules` are imported first.

    Nested keys are given with their dots: `train("auction", "ippo", total_steps=10_000, **{"env.n_agents": 2})`, or, but
    for those of env and algorithm, as dicts: `evaluation={"every": 500}`. Raises UserError.
    """
    load_modules(modules)
    lines = [f"env={env}", f"algorithm={algorithm}", *override_lines({**overrides, "modules": list(modules)})]
    return begin(compose(lines))


def begin(setup: Setup, **how: Any) -> Result:
    """Run to the end in a new folder. One that ends in an error before its first checkpoint leaves no folder behind. Raises UserError."""
    if setup.config["ensemble"]["members"]:
        raise UserError("ensemble.members: an ensemble is trained by marl train without -m, legal is [] here")
    if setup.config["device"] != "cpu":
        build.device(setup.config["device"])  # asked first: the rest of a beginning takes its time
    load_modules(setup.config["modules"])  # a run that could not be continued or evaluated is not begun
    setup = foresight.measured(setup)
    return execute(setup, run_folder.create(Path(setup.config["run_dir"]), setup.config), **how)


def override_lines(values: Mapping[str, Any], under: str = "") -> list[str]:
    """`key=value` lines of nested values, quoted for Hydra's grammar."""
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping) and f"{under}{key}" != "env.kwargs":
            lines += override_lines(value, f"{under}{key}.")
        else:
            lines.append(f"{under}{key}={_literal(value)}")
    return lines


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_literal(v) for v in value) + "]"
    if isinstance(value, str | Path):
        text = str(value)
        return text if text.isidentifier() else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return repr(value)


def execute(
    setup: Setup,
    folder: RunFolder,
    resume: bool = False,
    quiet: bool = False,
    told: Callable[[Progress], None] = lambda _: None,
    resumed: Callable[[], None] = lambda: None,
) -> Result:
    """Run to the end in `folder`, evaluate what it learned, draw the curves; the folder's lock is held until then. Raises UserError.

    `quiet`: no progress is shown. `told` gets every row with how far the run is; what it raises ends the run there. `resumed` is called
    once a run that goes on has been read whole: until then nothing on disk is changed. A new run that ends in an error before its first
    checkpoint leaves no folder behind.
    """
    with folder.held() as held:
        try:
            return _executed(setup, held, resume, quiet, told, resumed)
        except Exception:
            if not resume and folder.hold is not None and not folder.last.exists():
                run_folder.discard(held)
            raise


def _executed(
    setup: Setup, folder: RunFolder, resume: bool, quiet: bool, told: Callable[[Progress], None], resumed: Callable[[], None]
) -> Result:
    from experiments.progress import Bar
    from marl.schedule import COMPLETE

    run_id = folder.read_manifest()["id"]
    unit = "steps" if setup.config["total_episodes"] is None else "episodes"
    bar = Bar(unit)
    from experiments import trackers

    with (
        runlog.opened(folder.log, run_id, setup.config["log_level"]) as place,
        trackers.opened(folder, setup.config, run_id) as tracked,
    ):

        def watch(progress: Progress) -> None:
            place.step, place.episode = progress.steps, int(progress.row.get("train/episodes", 0))
            log.debug("row %s", dict(progress.row))
            told(progress)
            if not quiet:
                bar(progress)

        def going_on() -> None:
            resumed()
            note_code(folder)
            log.info("resume in %s", folder.path)

        if not resume:
            log.info("start in %s", folder.path)
        notice.at(f"making the run in {folder.path}")
        try:
            outcome = _steps(setup, folder, run_id, watch, going_on if resume else None)
        finally:
            bar.close()
        log.info("ended: %s; highest evaluation %g at step %d", outcome.ended, outcome.best, outcome.best_step)
        if outcome.ended != COMPLETE and not quiet:
            print(f"ended at step {outcome.steps:,}: {outcome.ended}; the highest was at step {outcome.best_step:,}", file=sys.stderr)
        result = _concluded(setup, folder, bar.speed)
        return replace(result, notes=tuple(tracked.conclude(result.report)))


def _steps(setup: Setup, folder: RunFolder, run_id: str, watch: Any, resumed: Callable[[], None] | None) -> Outcome:
    """Start the run, or go on with it, which `resumed` is told, and run it to its end."""
    from experiments import trackers
    from experiments.build import run_of

    told = trackers.of(folder)
    run = run_of(setup, folder, [told] if setup.config["tracker"]["kinds"] else [], watch)
    if resumed is not None:
        run.resume(claimed=True)
        resumed()
        told.catch_up()
    else:
        run.start(claimed=True)
    with notice.shown():
        return run.run()


def _concluded(setup: Setup, folder: RunFolder, speed: float | None) -> Result:
    from experiments import plots
    from experiments.evaluation import exploited, report
    from marl.track import read_metrics

    run_data.tell(folder)
    plots.learning_curves(read_metrics(folder.metrics), folder.path)
    asked = setup.config["evaluation"]
    found, run = report(setup, folder, asked["episodes"], "result")
    steps = asked["best_response"]
    if steps is None:
        steps = found["step"] // RESPONSE if found.get("known") and not run.chooses else 0
    if steps:
        exploited(setup, folder, run, found, steps, asked["episodes"])
    score = (found["score"] or {}).get("mean")
    best = found["return"]["mean"] if score is None else score
    return Result(best, folder.path, run.actor(), found, speed)


def show(result: Result) -> str:
    """The summary at the end of a run."""
    from experiments import evaluation

    return "\n".join([evaluation.show(result.report, result.speed), f"run folder: {result.run_dir}", *result.notes])


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parser("train")
    options.usage = "marl train [--module NAME] [-m] [--cfg job|hydra|all] [key=value ...]"
    options.epilog = "`marl list` shows what env, algorithm, curriculum and tracker may be, and every key."
    options.add_argument("-m", "--multirun", action="store_true", help="a run for every combination of comma-separated values")
    options.add_argument("--cfg", choices=("job", "hydra", "all"), help="print the configuration and stop")
    options.add_argument("overrides", nargs="*", metavar="key=value", help="env=auction env.n_agents=2 algorithm=ippo seed=0 ...")
    given = options.parse_intermixed_args(list(arguments))
    overrides = with_modules(given.overrides, given.module)
    if given.cfg:
        print(configuration(overrides, given.cfg), end="")
        return 0
    if given.multirun:
        from experiments.multirun import multirun

        return multirun(accepted(overrides, sweep=True))
    setup = compose(overrides)
    if setup.config["ensemble"]["members"]:
        from experiments import members

        print(members.train(setup, overrides))
        return 0
    print(show(begin(setup)))
    return 0


def with_modules(overrides: Sequence[str], names: Sequence[str]) -> list[str]:
    """The overrides, with the modules of `--module` among those of `modules=[...]`; all are imported, and the run remembers them."""
    found = list(names)
    for line in overrides:
        if (listed := MODULES.fullmatch(line)) is not None:
            found += [name.strip() for name in listed[1].split(",") if name.strip() and name.strip() not in found]
    load_modules(found)
    rest = [line for line in overrides if MODULES.fullmatch(line) is None]
    return [*rest, f"modules=[{','.join(found)}]"] if found else rest


def configuration(overrides: Sequence[str], kind: str) -> str:
    """The resolved configuration of a run as YAML; with kind "hydra" or "all", Hydra's own."""
    import yaml
    from omegaconf import OmegaConf

    from experiments.compose import composed

    if kind == "job":
        return yaml.safe_dump(dict(compose(overrides).config), sort_keys=False)
    config = composed(overrides, hydra=True)
    if kind == "hydra":
        config = {"hydra": config.hydra}
    return OmegaConf.to_yaml(config)
