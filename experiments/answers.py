"""`marl answers`: learn auctions whose equilibrium is in a textbook, and say PASS or FAIL for each.

Three games, three seeds each, a few processes at a time, one torch thread a run. A run that is finished is not run again
and one that was cut short goes on where it was. Exit code 1 where a learned answer is off.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import measures, tables
from experiments.cli import parser
from experiments.measures import CASES, Answer, Case
from marl.errors import UserError

if TYPE_CHECKING:
    from experiments.compose import Setup
    from experiments.run_folder import RunFolder

SEEDS = (0, 1, 2)
ANSWER, REPORT, PICTURE = "answer.json", "answers.json", "first-price.png"


def learn(case: Case, seed: int, root: Path) -> Answer:
    """Run a case, or finish it, or read its answer; called in a process of its own."""
    from experiments import run_folder
    from experiments.compose import compose, in_folder
    from experiments.run_folder import RunFolder
    from experiments.training import execute

    began = time.monotonic()
    path = root / f"{case.experiment}-s{seed}"
    setup = compose([f"experiment={case.experiment}", f"seed={seed}", in_folder(path)])
    folder = RunFolder(path)
    if folder.config.exists() and not _same(setup, folder):
        shutil.rmtree(path)
    if (path / ANSWER).exists():
        return Answer(**json.loads((path / ANSWER).read_text()))
    resumed = folder.config.exists()
    execute(setup, folder if resumed else run_folder.create(path, setup.config), resume=resumed, quiet=True)
    answer = measures.measure(case, setup, folder, began)
    run_folder.write(path / ANSWER, json.dumps(answer.__dict__, indent=2) + "\n")
    return answer


def _same(setup: Setup, folder: RunFolder) -> bool:
    """Whether a run was made by this code with this configuration: its answer still counts then."""
    from experiments.run_folder import config_hash, git_state

    manifest = folder.read_manifest()
    here = git_state(Path(__file__).parent)
    commits = [None if git is None else git["commit"] for git in (manifest["git"], here)]
    return manifest["config_hash"] == config_hash(setup.config) and commits[0] == commits[1]


def learn_all(root: Path, seeds: Sequence[int], jobs: int) -> list[Answer]:
    """Every case with every seed, `jobs` processes at a time; a line on stderr for each that is done."""
    root.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    done: list[Answer] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        # The slowest case first: two processes then end at about the same time.
        futures = [pool.submit(learn, case, seed, root) for case in sorted(CASES, key=lambda c: -c.agents) for seed in seeds]
        try:
            for future in as_completed(futures):
                done.append(future.result())
                a, n = done[-1], f"{len(done)} of {len(futures)}"
                print(f"{n}: {a.case}, seed {a.seed}: multiplier {a.multiplier:.3f}, {a.seconds:.0f} s", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    order = [case.experiment for case in CASES]
    return sorted(done, key=lambda a: (order.index(a.case), a.seed))


def show(answers: Sequence[Answer]) -> str:
    """A table a game, and its verdicts."""
    text = []
    for case in CASES:
        own = [a for a in answers if a.case == case.experiment]
        text.append(f"{case.title}\n{tables.table(measures.HEAD, [measures.cells(a) for a in own])}\n{measures.over_seeds(own)}")
        text.append("\n".join(f"{'PASS' if good else 'FAIL'}  {words}" for good, words in measures.verdicts(case, own)))
    return "\n\n".join(text)


def draw(answers: Sequence[Answer], root: Path) -> Path:
    """Learned bid functions over the theoretical ones, and how the multipliers came there."""
    import numpy as np

    from experiments.plots import bid_functions
    from marl.track import read_metrics

    values = np.linspace(0.0, 1.0, 101)
    panels: dict[str, Any] = {}
    curves: dict[str, Mapping[str, list[tuple[float, float]]]] = {}
    for case in (c for c in CASES if c.drawn):
        own = [a for a in answers if a.case == case.experiment]
        panels[case.title] = (values, {f"learned, seed {a.seed}": a.multiplier * values for a in own}, own[0].theory * values)
        rows = {a.seed: read_metrics(root / f"{case.experiment}-s{a.seed}" / "metrics.jsonl") for a in own}
        curves[f"{case.agents} bidders"] = {
            f"seed {seed}": [(row["step"], row["train/multiplier"]) for row in found if "train/multiplier" in row]
            for seed, found in rows.items()
        }
    theory = {f"{c.agents} bidders": next(a.theory for a in answers if a.case == c.experiment) for c in CASES if c.drawn}
    return bid_functions(panels, curves, theory, root / PICTURE)


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code: 1 where an answer is off."""
    options = parser("answers")
    options.add_argument("--folder", type=Path, default=Path("runs/answers"), help="where runs, table and picture go (runs/answers)")
    options.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes at a time (2, or 1 on one core)")
    options.add_argument("--picture", type=Path, help="copy the picture here as well")
    given = options.parse_args(list(arguments))
    if given.jobs < 1:
        raise UserError(f"--jobs = {given.jobs}: legal are whole numbers from 1")
    began = time.monotonic()
    answers = learn_all(given.folder, SEEDS, given.jobs)
    picture = draw(answers, given.folder)
    if given.picture is not None:
        given.picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, given.picture)
    passed = all(good for case in CASES for good, _ in measures.verdicts(case, [a for a in answers if a.case == case.experiment]))
    content = {"passed": passed, "answers": [a.__dict__ for a in answers]}
    (given.folder / REPORT).write_text(json.dumps(content, indent=2) + "\n")
    print(show(answers))
    print(f"\n{'PASS' if passed else 'FAIL'} in {time.monotonic() - began:.0f} s; picture: {picture}; numbers: {given.folder / REPORT}")
    return 0 if passed else 1
