"""Run: one training run on Tianshou's stock trainers, epoch by epoch, resumable bit for bit.

An epoch collects and updates; then, where one is due, an evaluation on frozen policies; then a row of metrics.jsonl
(fsync), then, where one is due, a checkpoint that holds networks, optimisers, schedulers, normalisers, replay,
environment, counters, generators and the row's byte offset. A run that is killed and resumed cuts the rows back to that
offset and writes the same ones again. No wall clock enters a row or a decision.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tianshou.algorithm.algorithm_base import Policy

from marl import checkpoint
from marl.actor import Actor
from marl.assemble import Counters, made_for, make_buffers, make_learner, trainer_params, updates
from marl.collect import LaneCollector
from marl.convention import BOOTSTRAP, INDIVIDUAL
from marl.copies import Copies
from marl.disk import claimed as lock_of
from marl.errors import UserError
from marl.evaluate import seed_of
from marl.judge import Judge, Verdict
from marl.remains import check_rows, check_unbegun
from marl.schedule import COMPLETE, Curriculum, MakeCopies, Outcome, Progress, Schedule
from marl.team import Part, Team, parts, scripted
from marl.track import MetricsLog, Pending, TimingsLog, Tracker

log = logging.getLogger("marl.train")

IDENTITY = ("seed", "team", "curriculum", "trainer")
"""What every checkpoint holds: enough to evaluate its policies."""
WHOLE = (*IDENTITY, "buffers", "copies", "collector", "scripted", "counters", "ended", "log", "random")
"""What last.pt holds: enough to continue the run."""


class Run:
    """One run in `folder`. `algorithm` is made as `algorithm(settings, part, updates)` for every part that learns.

    `sharing` (all, group, none) says who shares parameters; `rivals` names the baseline that all agents but the first
    of each role play, without it all learn. `reward` and `time_limit` are conventions
    (`marl.convention`). Call `start` or `resume`, then `run`.
    """

    def __init__(
        self,
        make: MakeCopies,
        algorithm: Callable[[Any, Part, int], Any],
        settings: Any,
        schedule: Schedule,
        *,
        seed: int,
        n_envs: int,
        folder: Path,
        sharing: str = "group",
        rivals: str | None = None,
        reward: str = INDIVIDUAL,
        time_limit: str = BOOTSTRAP,
        trackers: Sequence[Tracker] = (),
        curriculum: Curriculum | None = None,
        device: str = "cpu",
        watch: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._make, self._algorithm, self.settings, self.schedule = make, algorithm, settings, schedule
        self.seed, self.n_envs, self.folder, self._rivals, self._sharing = seed, n_envs, folder, rivals, sharing
        self._reward, self._time_limit = reward, time_limit
        self._curriculum, self._device, self._watch = curriculum, device, watch
        self._trackers = tuple(trackers)
        self._best, self._best_at, self._best_steps = -inf, 0, 0
        self._episodes, self._evaluated, self._saved, self._ended = 0, 0, 0, ""

    @property
    def chooses(self) -> bool:
        """Whether one of the run's policies is its best: of a team that is paid together, or of a single learner among fixed others.

        Where several learn for themselves, how one of them does among the references, or all of them together, is not what any of
        them is after: the run's result is its last policies.
        """
        return self._reward != INDIVIDUAL or sum(part.n for part in self.plan.values() if part.learns) == 1

    @property
    def done(self) -> int:
        """Progress in the schedule's unit."""
        return self._trainer._env_step if self.schedule.unit == "steps" else self._episodes

    def start(self, claimed: bool = False) -> None:
        """Begin at step 0 from the seed, also where an attempt left no checkpoint. `claimed`: whoever calls holds the folder's lock."""
        with self._claimed(claimed):
            self._begin()

    def resume(self, claimed: bool = False) -> None:
        """Continue from last.pt, with its seed; one that was killed before its first checkpoint starts again. A refusal changes nothing."""
        with self._claimed(claimed):
            if (path := self.folder / "last.pt").exists():
                self._continue(checkpoint.load(path, WHOLE))
            else:
                check_unbegun(self.folder)
                self._begin()

    @contextmanager
    def _claimed(self, already: bool) -> Iterator[None]:
        """The lock on the folder, held to the end of the run; given back where the run cannot begin."""
        with ExitStack() as lock:
            if not already:
                lock.enter_context(lock_of(self.folder))
            yield
            self._lock = lock.pop_all()

    def _begin(self) -> None:
        self._build()
        self._buffers.check_room(self.schedule.total if self.schedule.unit == "steps" else inf)
        self._log = Pending(MetricsLog(self.folder / "metrics.jsonl"), self._trackers)
        self._log.load_state_dict({"offset": 0, "released": 0})
        self._timings = TimingsLog(self.folder / "timings.jsonl")
        self._trainer.reset(reset_collectors=True, reset_collector_buffers=True)
        self._write_row({}, evaluate=True)

    def _continue(self, saved: Mapping[str, Any]) -> None:
        check_rows(self.folder / "metrics.jsonl", saved["log"])
        self.seed = saved["seed"]
        if self._curriculum is not None:
            self._curriculum.load_state_dict(saved["curriculum"])
        self._build()
        self._restore(saved)  # refused before a row is cut
        self._log = Pending(MetricsLog(self.folder / "metrics.jsonl"), self._trackers)
        self._log.load_state_dict(saved["log"])
        self._timings = TimingsLog(self.folder / "timings.jsonl")
        checkpoint.set_random_states(saved["random"])

    def load(self, name: str = "best.pt") -> int:
        """Make the policies of a checkpoint in the folder, to evaluate or to act with; returns its env steps."""
        saved = checkpoint.load(self.folder / name, IDENTITY)
        self.seed = saved["seed"]
        if self._curriculum is not None:
            self._curriculum.load_state_dict(saved["curriculum"])
        self._build()
        self.team.load_state_dict(saved["team"])
        self._best = saved["counters"][0] if "counters" in saved else -inf
        return int(saved["trainer"][1])

    @property
    def has_best(self) -> bool:
        """Whether one of the policies so far was kept as the best."""
        return self.chooses and self._best > -inf

    def close(self) -> None:
        """Release the copies of a run that was loaded; `run` does so itself."""
        self._copies.close()

    def judge(
        self, episodes: int, sample: bool | None = None, baselines: bool = True, make: Callable[[int], Copies] | None = None
    ) -> Verdict:
        """Evaluate the present policies, and every baseline beside them, on `episodes` episodes that chose nothing.

        They act at their mode, or draw with `sample`; as the run's own evaluations do where nothing is said. The best of a run's
        evaluations is biased upward on the episodes that it was chosen by. `make` gives copies of another setting.
        """
        return self._make_judge(episodes, self.final_seed, sample, make).verdict(self.policies, baselines)

    def make(self, params: Mapping[str, Any], n_envs: int) -> Copies:
        """Copies of the run's present setting, with some parameters replaced."""
        return self._make({**self.stage_params, **params}, n_envs)

    @property
    def stage_params(self) -> Mapping[str, Any]:
        """Parameters of the curriculum's present stage, by name; without a curriculum none."""
        return {} if self._curriculum is None else self._curriculum.params

    @property
    def stage(self) -> str | None:
        """Name of the curriculum's present stage, None without a curriculum."""
        return None if self._curriculum is None else self._curriculum.name

    @property
    def roles(self) -> list[str]:
        """Roles with learning agents."""
        return [
            name for name, view in self._copies.groups.items() if any(p.learns and p.lo <= view.group.lo < p.hi for p in self.plan.values())
        ]

    @property
    def final_seed(self) -> int:
        """Seed of the episodes that a finished policy is reported on."""
        return seed_of(self.seed, "final")

    def actor(self) -> Actor:
        """The present policies as something that acts."""
        return Actor(self._copies, self.plan, self.policies, self.seed)

    @property
    def conventions(self) -> dict[str, str]:
        """What else a run against its policies has in common with it; what agents are paid is in its parts."""
        return {"time_limit": self._time_limit, "device": self._device}

    def _restore(self, saved: Mapping[str, Any]) -> None:
        self.team.load_state_dict(saved["team"])
        for name, buffer in self._buffers.items():
            buffer.load_state_dict(saved["buffers"][name])
        self._copies.load_state_dict(saved["copies"])
        self._collector.load_state_dict(saved["collector"])
        for name, state in saved["scripted"].items():
            self.policies[name].generator.bit_generator.state = state
        self._best, self._best_at, self._best_steps, self._episodes, self._evaluated, self._saved = saved["counters"]
        self._counters.at = tuple(saved["trainer"])
        self._trainer.reset(reset_collectors=False)
        longer = saved["ended"] == COMPLETE and self.done < self.schedule.total
        self._ended = "" if longer else saved["ended"]

    def _build(self) -> None:
        torch.manual_seed(self.seed)
        np.random.seed(self.seed % (1 << 32))
        random.seed(self.seed)
        self._copies = self._make(self.stage_params, self.n_envs)
        plan = self._plan(self._copies)
        frozen = self._frozen(plan)
        learners = {
            n: make_learner(self._algorithm, self.settings, p, updates(self.schedule, self.settings, self.n_envs)).to(self._device)
            for n, p in plan.items()
            if n not in frozen
        }
        self.team = Team(plan, learners, frozen, warm_up=getattr(self.settings, "warm_up", 0))
        self._buffers = make_buffers(self.team, self.n_envs, self.settings, self.seed)
        self._collector = LaneCollector(self.team, self._copies, self._buffers, self.seed, self._device, self._time_limit)
        self._counters = Counters()
        self._trainer = self.team.create_trainer(trainer_params(self.team, self._collector, self.n_envs, self.settings, self._counters))
        self._judge = self._make_judge(self.schedule.evaluation_episodes)

    @property
    def plan(self) -> dict[str, Part]:
        """Part name -> part."""
        return self.team.plan

    @property
    def policies(self) -> dict[str, Any]:
        """Part name -> policy, scripted rivals included."""
        return {name: self.team.member(name) for name in self.team.plan}

    def _plan(self, copies: Copies) -> dict[str, Part]:
        plan = parts(copies, self._sharing, None if self._rivals is None else 1, self._reward)
        if not getattr(self.settings, "agent_id", False):
            return plan
        return {name: part.named() if part.learns else part for name, part in plan.items()}

    def _frozen(self, plan: Mapping[str, Part]) -> dict[str, Policy]:
        """Policies of the parts that do not learn."""
        return {n: scripted(self._copies, p, str(self._rivals), self.seed) for n, p in plan.items() if not p.learns}

    def _make_judge(
        self, episodes: int, seed: int | None = None, sample: bool | None = None, make: Callable[[int], Copies] | None = None
    ) -> Judge:
        """Of the present stage, or of the copies that `make` gives."""
        draws = self.schedule.evaluation_sample if sample is None else sample
        drawn, focal = self.seed if seed is None else seed, self._rivals is not None
        if make is not None or self._curriculum is None:
            return Judge(make or partial(self._make, {}), self.plan, episodes, drawn, focal, sample=draws)
        stage, ends = dict(self.stage_params), (self._curriculum.reference, self._curriculum.naive)
        return Judge(partial(self._make, stage), self.plan, max(episodes, self._curriculum.episodes), drawn, focal, *ends, draws)

    def run(self) -> Outcome:
        """Train to the end of the schedule. What was computed stays on disk whatever happens."""
        try:
            while not self._ended:
                epoch = self._trainer.execute_epoch()
                losses = {} if epoch.training_stat is None else epoch.training_stat.get_loss_stats_dict()
                self._after_epoch({f"loss/{name}": float(value) for name, value in losses.items() if value is not None})
        finally:
            self._log.close()
            self._timings.close()
            self._copies.close()
            self._lock.close()
        return Outcome(self._trainer._env_step, self._best, self._best_steps, self._ended, self.has_best)

    def _after_epoch(self, losses: dict[str, float]) -> None:
        finished = self._collector.take_finished()
        self._episodes += len(finished)
        row = dict(losses)
        if len(finished):
            row |= finished.row(self._copies, [a for p in self.plan.values() if p.learns for a in range(p.lo, p.hi)])
        if self.done >= self.schedule.total:
            self._ended = COMPLETE
        due = self.done // self.schedule.evaluation_every > self._evaluated
        self._write_row(row, evaluate=due or self._ended != "")

    def _write_row(self, row: dict[str, float], evaluate: bool) -> None:
        moved = False
        if self._curriculum is not None:
            row["curriculum/stage"] = self._curriculum.index  # of what was collected and is evaluated, before a move
        if evaluate:
            verdict = self._judge.verdict(self.policies)
            row |= verdict.row()
            moved = self._take(verdict)
            self._evaluated = self.done // self.schedule.evaluation_every
        row |= {"train/episodes": self._episodes}
        self._log.row(self._trainer._env_step, row)
        self._timings.append(self._trainer._env_step, {"episodes": self._episodes})
        if moved:
            self._next_stage()
        first, due = self.done == 0, self.done // self.schedule.checkpoint_every > self._saved
        if self._ended or first or due:
            self._save()
        self._watch(Progress(self.done, self.schedule.total, self._trainer._env_step, row))

    def _take(self, verdict: Verdict) -> bool:
        """Keep the best policy, stop where patience ends; True where the curriculum moves to another stage.

        The best is by score where there is one, else by return, of evaluations after the first update: what was there before it has
        learned nothing. A team that shares its reward is judged by its return: the score is of one learner among others who play the
        reference, which it never met. Whether a score is refused (`marl.score`) depends on the references alone: in a stage either all
        evaluations have one or none has.
        """
        own = verdict.score if self._reward == INDIVIDUAL else None
        value = float(verdict.evaluation.by_episode.mean()) if own is None else own
        if value > self._best and self._trainer._current_update_step > 0:
            self._best, self._best_at, self._best_steps = value, self.done, self._trainer._env_step
            if self.chooses:
                checkpoint.save(self.folder / "best.pt", self._identity())
        if self.schedule.patience and self.done - self._best_at >= self.schedule.patience and not self._ended:
            self._ended = f"no better evaluation for {self.done - self._best_at} {self.schedule.unit}"
        if self._curriculum is None or self._ended:
            return False
        seen = verdict.score if self._curriculum.on == "score" else float(verdict.evaluation.by_episode.mean())
        if seen is None:
            self._unjudged(verdict)
            return False
        return self._curriculum.observe(self._trainer._env_step, seen)

    def _unjudged(self, verdict: Verdict) -> None:
        """A stage is judged by a score that is refused: an error before the first step, a warning where the run would be lost."""
        assert self._curriculum is not None
        why = "; ".join(s.reason for s in verdict.scores.values() if s.reason) or "the game has no reference"
        text = f"curriculum stage {self._curriculum.name!r} is judged by the score, and there is none: {why}"
        if self.done == 0:
            raise UserError(text)
        log.warning("%s; the stage stays", text)

    def _next_stage(self) -> None:
        """Go on with copies of the curriculum's present stage; replay of the last one is dropped."""
        assert self._curriculum is not None
        self._copies.close()
        self._copies = self._make(self.stage_params, self.n_envs)
        plan = self._plan(self._copies)
        learners = dict(self.team.learners.items())
        shapes = [{n: made_for(learners.get(n), p) for n, p in x.items() if p.learns} for x in (plan, self.plan)]
        if shapes[0] != shapes[1]:
            raise UserError(f"stage {self._curriculum.index} has parts {shapes[0]}: the policies were made for {shapes[1]}")
        left, self.team.plan = self.policies, plan
        for name, policy in self._frozen(plan).items():  # scripts read the new parameters, and draw on
            policy.generator = left[name].generator if name in left else policy.generator
            self.team.policy.members[name] = policy
        self._collector.attach(self._copies)
        stage = f"stage at {self._trainer._env_step}"
        self._collector.buffer = self._buffers = make_buffers(self.team, self.n_envs, self.settings, self.seed, stage)
        self._copies.reset(seed_of(self.seed, stage))
        log.info("stage %s from step %d", self._curriculum.name, self._trainer._env_step)
        self._judge = self._make_judge(self.schedule.evaluation_episodes)
        self._best, self._best_at = -inf, self.done

    def _save(self) -> None:
        self._saved = self.done // self.schedule.checkpoint_every
        generators = {n: p.generator.bit_generator.state for n, p in self.policies.items() if hasattr(p, "generator")}
        covered = self._log.state_dict()
        content = self._identity() | {
            "buffers": {name: buffer.state_dict() for name, buffer in self._buffers.items()},
            "copies": self._copies.state_dict(),
            "collector": self._collector.state_dict(),
            "scripted": generators,
            "counters": [self._best, self._best_at, self._best_steps, self._episodes, self._evaluated, self._saved],
            "ended": self._ended,
            "log": covered,
            "random": checkpoint.random_states(),
        }
        checkpoint.save(self.folder / "last.pt", content)
        self._log.release(covered["offset"])
        self._keep(content)

    def _identity(self) -> dict[str, Any]:
        """What policies are: who they are, and when."""
        return {
            "seed": self.seed,
            "team": self.team.state_dict(),
            "curriculum": None if self._curriculum is None else self._curriculum.state_dict(),
            "trainer": [self._trainer._epoch, self._trainer._env_step, self._trainer._current_update_step],
        }

    def _keep(self, content: Mapping[str, Any]) -> None:
        if not self.schedule.keep:
            return
        checkpoint.save(self.folder / f"step_{self._trainer._env_step:012d}.pt", content)
        for old in sorted(self.folder.glob("step_*.pt"))[: -self.schedule.keep]:
            old.unlink()
