"""`marl evaluate RUN RUN ... --ensemble KIND`: policies of several runs of one game as one, beside each of them, on the same episodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import tables
from experiments.compose import Setup
from experiments.evaluation import CHECKPOINTS, check_asked
from experiments.run_folder import write
from experiments.stored import loaded
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.copies import Copies
    from marl.evaluate import Evaluation
    from marl.judge import Verdict
    from marl.team import Part
    from marl.train import Run


@dataclass(frozen=True)
class Member:
    """A trained run: where it lies, its configuration, the step of its checkpoint, the run that holds its policies."""

    path: Path
    setup: Setup
    step: int
    run: Run

    @property
    def algorithm(self) -> str:
        """Its name."""
        return str(self.setup.config["algorithm"]["name"])


class Ensemble:
    """Several runs' policies acting as one; `ensemble` makes it. It is played in the setting of the first run's game."""

    def __init__(self, members: Sequence[Member], kind: str, weights: Sequence[float], temperature: float) -> None:
        from marl.actor import Actor
        from marl.ensemble import EnsemblePolicy, ensemble_parts

        self.members, self.kind, self.temperature, self.weights = tuple(members), kind, temperature, np.array(weights)
        first = members[0].run
        self._sample = first.make({}, 1)
        self._sample.close()  # only its names and columns are read
        for member in members[1:]:
            _check_alike(members[0], member)
        self.plan = ensemble_parts(first.plan, [view.group for view in self._sample.groups.values()])
        self.policies: dict[str, Any] = {}
        for name, part in self.plan.items():
            seats = [_seats(m.run, part) for m in members]
            own = EnsemblePolicy(part, seats, kind, self.weights, temperature) if part.learns else first.policies[name]
            self.policies[name] = own
        self._actor = Actor(self._sample, self.plan, self.policies)

    def act(self, obs: Any, mask: Any = None) -> Any:
        """Actions for observations by agent name, or as arrays: see `marl.actor.Actor.act`."""
        return self._actor.act(obs, mask)

    def reset(self, over: Any = None) -> None:
        """An episode begins: members with memory forget, see `marl.actor.Actor.reset`."""
        self._actor.reset(over)

    def evaluate(self, episodes: int = 256) -> dict[str, Any]:
        """The ensemble, each member and every baseline on the same episodes, of a seed that no member was trained or chosen on."""
        check_asked(episodes, CHECKPOINTS[0])
        together = self._verdict(self.plan, self.policies, episodes, baselines=True)
        seed, own = self.members[0].run.seed, together.evaluation
        alone = [self._verdict(m.run.plan, m.run.policies, episodes) for m in self.members]
        members = [
            {"run": str(m.path), "algorithm": m.algorithm, "seed": m.run.seed, "step": m.step, "weight": float(w), **_beside(own, v, seed)}
            for m, w, v in zip(self.members, self.weights, alone, strict=True)
        ]
        found = together.report(seed)
        for name, played in together.baselines.items():
            found["baselines"][name]["gain"] = _gain(own, played, seed)
        head = {"ensemble": self.kind, "temperature": self.temperature, "setting": str(self.members[0].path)}
        return {**head, "other_settings": self._other_settings(), **found, "members": members}

    def _verdict(self, plan: Mapping[str, Part], policies: Mapping[str, Any], episodes: int, baselines: bool = False) -> Verdict:
        from marl.judge import Judge

        first = self.members[0].run
        focal = self.members[0].setup.config["opponents"] is not None
        return Judge(lambda n: first.make({}, n), plan, episodes, first.final_seed, focal).verdict(policies, baselines=baselines)

    def _other_settings(self) -> dict[str, list[str]]:
        """Run -> parameters of its game that differ from those that are played."""
        played = self.members[0].setup.config["env"]
        others = {str(m.path): m.setup.config["env"] for m in self.members[1:]}
        return {path: [f"env.{k} = {v!r}" for k, v in env.items() if v != played[k]] for path, env in others.items() if env != played}


def _seats(run: Run, part: Part) -> list[tuple[Part, Any]]:
    """The parts of a run that an ensemble's part is made of, with their policies."""
    policies = run.policies
    return [(p, policies[name]) for name, p in run.plan.items() if p.learns and p.lo < part.hi and part.lo < p.hi]


def _beside(own: Evaluation, verdict: Verdict, seed: int) -> dict[str, Any]:
    """A member's part of the report."""
    report = verdict.report(seed)
    return {key: report[key] for key in ("return", "metrics", "scores", "together")} | {"gain": _gain(own, verdict.evaluation, seed)}


def _gain(own: Evaluation, other: Evaluation, seed: int) -> dict[str, float]:
    """What the ensemble earns more, mean with its 95 % interval over paired episodes."""
    from marl import stats

    found = stats.paired_difference(own.by_episode, other.by_episode, seed=seed)
    return {"mean": found.point, "low": found.low, "high": found.high}


def _check_alike(first: Member, other: Member) -> None:
    """Raise UserError where two members cannot act for one another."""
    game, theirs = (_game(m.setup) for m in (first, other))
    if game != theirs:
        raise UserError(f"{other.path} plays {theirs} and {first.path} {game}: the members of an ensemble play one game")
    ours, others = (m.run.make({}, 1) for m in (first, other))
    try:
        difference = _columns(ours, others)
    finally:
        ours.close()
        others.close()
    if difference:
        raise UserError(f"{other.path} and {first.path} differ in {difference}: the members of an ensemble have the same columns")
    learning, mine = (_learning(m.run.plan) for m in (other, first))
    if learning != mine:
        names = [ours.agents[a] for a in sorted(learning ^ mine)]
        raise UserError(f"{other.path} and {first.path}: in one {names[0]} learned, in the other it did not (opponents, sharing)")


def _game(setup: Setup) -> str:
    env = setup.config["env"]
    return str(env["name"]) if setup.game is not None else f"{env['factory']} {env['kwargs'] or ''}".strip()


def _columns(ours: Copies, others: Copies) -> str:
    """The first thing that two games' copies differ in, in words; nothing where their agents and columns are the same."""
    names = [list(c.groups) for c in (others, ours)]
    if names[0] != names[1]:
        return f"roles, {', '.join(names[0])} against {', '.join(names[1])}"
    for role in names[0]:
        theirs, mine = (c.groups[role].group for c in (others, ours))
        if theirs.n != mine.n:
            return f"the number of agents of {role}, {theirs.n} against {mine.n}"
        for kind, a, b in (("observation", theirs.observation, mine.observation), ("action", theirs.action, mine.action)):
            if list(a.items()) != list(b.items()):
                return f"{kind} columns of {role}, {_told(a)} against {_told(b)}"
    return "" if others.masked == ours.masked else "whether choices are masked"


def _told(table: Mapping[str, Any]) -> str:
    return ", ".join(table) if len(table) > 1 else ", ".join(f"{name} = {column}" for name, column in table.items())


def _learning(plan: Mapping[str, Part]) -> frozenset[int]:
    return frozenset(a for part in plan.values() if part.learns for a in range(part.lo, part.hi))


def ensemble(
    runs: Sequence[str | Path],
    kind: str = "mean",
    weights: Sequence[float] | None = None,
    temperature: float = 1.0,
    checkpoint: str = "result",
) -> Ensemble:
    """The policies of trained runs as one: `ensemble([...]).act(obs)`, `.evaluate(episodes)`. `marl.ensemble` has the formulas.

    `kind`: mean, vote or uncertainty. `weights`: one a run, equal ones without. `temperature`: of the softmax over the values of
    members that have values, in the units of the reward. Raises UserError.
    """
    from marl.convention import ENSEMBLES
    from marl.ensemble import checked_weights

    check_asked(2, checkpoint)
    if isinstance(runs, str | Path) or not runs:
        raise UserError(f"runs = {runs!r}: a list of run folders is expected")
    if kind not in ENSEMBLES:
        raise UserError(f"ensemble = {kind!r}: legal are {', '.join(ENSEMBLES)}")
    if not (isinstance(temperature, int | float) and 0.0 < temperature < np.inf):
        raise UserError(f"temperature = {temperature!r}: legal range is above 0, in the units of the reward")
    shares = checked_weights(weights, len(runs))  # what can be refused is refused before anything is loaded
    return Ensemble([_member(Path(path), checkpoint) for path in runs], kind, shares.tolist(), temperature)


def _member(path: Path, checkpoint: str) -> Member:
    try:
        setup, run, step, _ = loaded(path, checkpoint)
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error
    return Member(path, setup, step, run)


def show(report: Mapping[str, Any]) -> str:
    """A report as text."""
    played = [(m["run"], m["algorithm"], m) for m in report["members"]]
    played += [(name, "baseline", found) for name, found in report["baselines"].items()]
    rows = [[f"ensemble, {report['ensemble']}", "", tables.interval(report["return"]), ""]]
    rows += [[name, kind, *(tables.interval(found[k]) for k in ("return", "gain"))] for name, kind, found in played]
    head = ["everybody plays", "", "return, mean [95 % interval]", "the ensemble earns more"]
    values = [report["metrics"], *(found["metrics"] for _, _, found in played)]
    text = [tables.players(head, rows, list(report["metrics"]), values)]
    text += tables.scores(report)
    text += [
        f"{path} was trained with {', '.join(differ)}; played as {report['setting']}" for path, differ in report["other_settings"].items()
    ]
    return "\n".join([*text, f"episodes: {report['return']['episodes']:,}"])


@dataclass(frozen=True)
class Asked:
    """What `marl evaluate` was given for an ensemble."""

    kind: str
    weights: Sequence[float] | None = None
    temperature: float = 1.0
    output: Path | None = None


def command(runs: Sequence[str], asked: Asked, episodes: int, checkpoint: str) -> str:
    """Evaluate an ensemble, write its report where one is asked for, and return it as text. Raises UserError."""
    if asked.output is not None and (asked.output.is_dir() or not asked.output.parent.is_dir()):
        raise UserError(f"-o {asked.output}: a file in a folder that exists is expected")
    check_asked(episodes, checkpoint)
    found = ensemble(runs, asked.kind, asked.weights, asked.temperature, checkpoint).evaluate(episodes)
    if asked.output is not None:
        write(asked.output, json.dumps(found, indent=2) + "\n")
    return show(found)
