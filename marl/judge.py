"""What a run's policies are worth: their return, their score among the reference population, and baselines beside them.

Baselines play the same evaluation seeds and are measured once a setting. A score of a role is *focal*: one agent of it plays
the learned policy, all others the reference; naive and reference are that agent's return with those baselines instead. Naive is whatever
earns most of what takes no learning: the game's naive baseline, doing nothing where that is legal, drawn actions. Where all learn,
the score of all is beside them (*welfare*, or *cooperative* under a team's reward): everybody's mean return, learned, naive and reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tianshou.algorithm.algorithm_base import Policy

from marl import notice, score, stats
from marl.copies import Copies
from marl.errors import UserError
from marl.evaluate import Evaluation, evaluate
from marl.game import F8, Game
from marl.team import Part, parts, scripted


@dataclass(frozen=True)
class Verdict:
    """An evaluation with its scores by role and `together` that of all, None where some do not learn or are alone.

    `baselines` are mean returns of everybody playing that baseline, `refused` says why not.
    """

    evaluation: Evaluation
    scores: Mapping[str, score.Score]
    together: score.Score | None = None
    baselines: Mapping[str, Evaluation] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """Mean score of the roles; None where a role has none."""
        means = [s.mean for s in self.scores.values()]
        return None if not means or any(m is None for m in means) else sum(m for m in means if m is not None) / len(means)

    def row(self) -> dict[str, float]:
        """Keys of metrics.jsonl."""
        e = self.evaluation
        row = {"evaluation/return": float(e.by_episode.mean()), "evaluation/length": float(e.lengths.mean())}
        row |= {f"evaluation/{role}/return": float(e.role(role).mean()) for role in e.roles}
        row |= {f"evaluation/{name}": float(e.metric(name).mean()) for name in e.metric_names}
        row |= {f"evaluation/{role}/score": s.mean for role, s in self.scores.items() if s.mean is not None}
        if self.together is not None and self.together.mean is not None:
            row[f"evaluation/{self.together.kind}_score"] = self.together.mean
        return row if self.score is None else row | {"evaluation/score": self.score}

    def report(self, seed: int) -> dict[str, Any]:
        """Content of evaluation.json."""
        own = {"return": interval(self.evaluation, seed), "metrics": _metrics(self.evaluation)}
        others = {name: {"return": interval(e, seed), "metrics": _metrics(e)} for name, e in self.baselines.items()}
        scored = {role: s.row() for role, s in self.scores.items()}
        first = next(iter(scored.values()), None)
        whole = None if self.together is None else self.together.row()
        return {**own, "score": first, "scores": scored, "together": whole, "baselines": others, "refused": dict(self.refused)}


def interval(e: Evaluation, seed: int) -> dict[str, float]:
    """Mean return by episode with its 95 % bootstrap interval."""
    found = stats.interval(stats.mean, e.by_episode, seed=seed)
    return {"mean": found.point, "low": found.low, "high": found.high, "episodes": len(e.lengths)}


def _metrics(e: Evaluation) -> dict[str, float]:
    return {name: float(e.metric(name).mean()) for name in e.metric_names}


IDLE = "idle"
"""Name of the baseline that does nothing, of games where that is legal."""


def naive_policies(game: Game | None) -> tuple[str, ...]:
    """Baselines of which whatever earns most scores 0; where the equilibrium may lie below them (`Game.below`), the declared one."""
    if game is None:
        return ("random",)
    idle = (IDLE,) if IDLE in game.baselines else ()
    return (game.naive,) if game.below else tuple(dict.fromkeys((game.naive, *idle, "random")))


class Judge:
    """Evaluates a plan's policies on the seeds of a run, at their mode or with `sample` drawn. `make(n)` gives n copies of the setting.

    `reference` and `naive` name baselines that score 1 and 0 in place of the game's own.
    """

    def __init__(
        self,
        make: Callable[[int], Copies],
        plan: Mapping[str, Part],
        episodes: int,
        seed: int,
        trained_focal: bool,
        reference: str | None = None,
        naive: str | None = None,
        sample: bool = False,
    ) -> None:
        self._draws = sample
        self._make, self._plan, self._episodes, self._seed = make, dict(plan), episodes, seed
        self._kind = "focal_trained" if trained_focal else "focal_evaluated"
        self._sample = make(1)
        self._sample.close()  # only its names, columns and parameters are read
        game, params = getattr(self._sample, "game", None), getattr(self._sample, "params", None)
        declared = game.reference(params) if game is not None and game.reference is not None else None
        self._reference = declared if reference is None else reference
        self._naive = naive_policies(game) if naive is None else (naive,)
        self._below = game is not None and game.below
        self._version = game.version if game is not None else 0
        self._floor: dict[str, tuple[str, F8]] = {}
        self._played: dict[str, Evaluation] = {}
        self._known = [] if game is None else list(game.baselines if game.beside is None else game.beside(params))

    def verdict(self, policies: Mapping[str, Policy], baselines: bool = False) -> Verdict:
        """Play the policies; with `baselines`, also everybody playing each baseline."""
        with notice.working(f"evaluating {self._sample.name}, {self._episodes:,} episodes"):
            notice.at("the policies")
            own = evaluate(self._make, self._plan, policies, self._episodes, self._seed, self._draws)
            scores = {} if self._reference is None else {role: self._score(role, policies) for role in own.roles}
            return Verdict(own, scores, self._together(own), *(self._beside() if baselines else ({}, {})))

    def _together(self, own: Evaluation) -> score.Score | None:
        """The score of all, where there is more than one and all learn."""
        if self._reference is None or len(own.learners) == 1 or not own.learners.all():
            return None
        kind = "cooperative" if all(part.teams for part in self._plan.values()) else "welfare"
        naive = score.most({name: self._everybody(name).by_episode for name in self._naive})
        return self._scored(kind, own.by_episode, naive, self._everybody(self._reference).by_episode)

    def _beside(self) -> tuple[dict[str, Evaluation], dict[str, str]]:
        """Everybody playing each baseline, and why some cannot be played in this setting (an equilibrium that has no closed form)."""
        played, refused = {}, {}
        for name in [*self._known, "random"]:
            try:
                played[name] = self._everybody(name)
            except UserError as error:
                refused[name] = str(error)
        return played, refused

    def _everybody(self, name: str) -> Evaluation:
        if name not in self._played:
            notice.at(f"baseline {name}, played by all")
            plan = parts(self._sample, "group")
            seats = {n: scripted(self._sample, p, name, self._seed) for n, p in plan.items()}
            self._played[name] = evaluate(self._make, plan, seats, self._episodes, self._seed)
        return self._played[name]

    def _score(self, role: str, policies: Mapping[str, Policy]) -> score.Score:
        assert self._reference is not None
        group = self._sample.groups[role].group
        learned = next(n for n, p in self._plan.items() if p.lo <= group.lo < p.hi)
        if role not in self._floor:
            scripts = {name: scripted(self._sample, self._plan[learned], name, self._seed) for name in self._naive}
            self._floor[role] = score.most({name: self._focal(role, script).returns[:, group.lo] for name, script in scripts.items()})
        played = (self._focal(role, policies[learned]), self._everybody(self._reference))
        own, best = (e.returns[:, group.lo] for e in played)
        return self._scored(self._kind, own, self._floor[role], best)

    def _scored(self, kind: str, learned: F8, naive: tuple[str, F8], best: F8) -> score.Score:
        assert self._reference is not None
        against = score.reference(self._reference, self._version, best)
        named: dict[str, Any] = {"kind": kind, "against": against, "naive_name": naive[0], "seed": self._seed, "below": self._below}
        return score.score(learned, naive[1], best, **named)

    def _focal(self, role: str, policy: Policy) -> Evaluation:
        """Agent 0 of the role plays `policy`, everybody else the reference."""
        plan = parts(self._sample, "group", learners=1)
        assert self._reference is not None
        notice.at(f"one {role} among baseline {self._reference}")
        seats = {n: scripted(self._sample, p, self._reference, self._seed) for n, p in plan.items()}
        taught = next(p for p in self._plan.values() if p.lo <= plan[role].lo < p.hi)
        plan[role] = replace(plan[role], ids=taught.ids, origin=taught.origin)
        return evaluate(self._make, plan, {**seats, role: policy}, self._episodes, self._seed, self._draws)
