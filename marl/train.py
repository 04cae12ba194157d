"""Run: one training run on Tianshou's stock trainers, epoch by epoch, resumable bit for bit.

An epoch collects and updates; then, where one is due, an evaluation on frozen policies; then a row of metrics.jsonl
(fsync), then, where one is due, a checkpoint that holds networks, optimisers, schedulers, normalisers, replay,
environment, counters, generators and the row's byte offset. A run that is killed and resumed cuts the rows back to that
offset and writes the same ones again. No wall clock enters a row or a decision.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tianshou.algorithm.algorithm_base import Policy
from tianshou.trainer import OffPolicyTrainerParams, OnPolicyTrainerParams
from tianshou.utils.logger.logger_base import LazyLogger

from marl import checkpoint
from marl.collect import LaneCollector
from marl.copies import Copies
from marl.errors import UserError
from marl.evaluate import seed_of
from marl.judge import Judge, Verdict
from marl.replay import Buffers, LaneBuffer
from marl.team import Part, Team, parts, scripted
from marl.track import MetricsLog, Pending, TimingsLog, Tracker

MakeCopies = Callable[[Mapping[str, Any], int], Copies]
"""(parameters that replace the run's own, number of copies) -> copies."""

COMPLETE = "complete"
"""Why a run ended that reached its total."""


class Curriculum(Protocol):
    """What a run asks of a curriculum (`curricula.manager`)."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameters of the present stage."""

    @property
    def index(self) -> int:
        """Number of the present stage."""

    def observe(self, step: int, value: float) -> bool:
        """Take an evaluation's result; True where the stage changes."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, saved: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Schedule:
    """How long a run is and what happens when, in its `unit`: "steps" (ticks of one copy) or "episodes".

    `total` is rounded up to whole epochs. `patience`: without a better evaluation for so long the run stops; 0: never.
    `keep`: numbered checkpoints beside last.pt and best.pt.
    """

    total: int
    unit: str = "steps"
    evaluation_every: int = 50_000
    evaluation_episodes: int = 32
    checkpoint_every: int = 50_000
    keep: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        if self.unit not in ("steps", "episodes"):
            raise UserError(f"unit = {self.unit!r}: legal are steps, episodes")
        lowest = {"keep": 0, "patience": 0}
        for name in ("total", "evaluation_every", "evaluation_episodes", "checkpoint_every", "keep", "patience"):
            if getattr(self, name) < lowest.get(name, 1):
                raise UserError(f"{name} = {getattr(self, name)}: legal are whole numbers from {lowest.get(name, 1)}")


@dataclass(frozen=True)
class Progress:
    """What a run tells whoever watches: done of total in the schedule's unit, env steps, and its latest row."""

    done: int
    total: int
    steps: int
    row: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """A finished run: steps taken, the best evaluation (score where there is one, else return) and when, and why it ended."""

    steps: int
    best: float
    best_step: int
    ended: str


class _Counters(LazyLogger):
    """Gives the trainer the counters of the checkpoint."""

    at = (0, 0, 0)

    def restore_data(self) -> tuple[int, int, int]:
        return self.at


class Run:
    """One run in `folder`. `algorithm` is made as `algorithm(settings, part, updates)` for every part that learns.

    `rivals` names the baseline that all agents but the first of each role play; without it all learn. Call `start` or
    `resume`, then `run`.
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
        rivals: str | None = None,
        trackers: Sequence[Tracker] = (),
        curriculum: Curriculum | None = None,
        device: str = "cpu",
        watch: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._make, self._algorithm, self.settings, self.schedule = make, algorithm, settings, schedule
        self.seed, self.n_envs, self.folder, self._rivals = seed, n_envs, folder, rivals
        self._curriculum, self._device, self._watch = curriculum, device, watch
        self._trackers = tuple(trackers)
        self._best, self._best_at, self._best_steps = -float("inf"), 0, 0
        self._episodes = self._evaluated = self._saved = 0
        self._ended = ""

    @property
    def done(self) -> int:
        """Progress in the schedule's unit."""
        return self._trainer._env_step if self.schedule.unit == "steps" else self._episodes

    def start(self) -> None:
        """Begin at step 0 from the seed; an earlier attempt that left no checkpoint is begun again."""
        self._build()
        self._log = Pending(MetricsLog(self.folder / "metrics.jsonl"), self._trackers)
        self._log.load_state_dict({"offset": 0, "released": 0})
        self._timings = TimingsLog(self.folder / "timings.jsonl")
        self._trainer.reset(reset_collectors=True, reset_collector_buffers=True)
        self._write_row({}, evaluate=True)

    def resume(self) -> None:
        """Continue from last.pt, with its seed. A run that was killed before its first checkpoint starts again."""
        path = self.folder / "last.pt"
        if not path.exists():
            self.start()
            return
        saved = checkpoint.load(path)
        self.seed = saved["seed"]
        if self._curriculum is not None:
            self._curriculum.load_state_dict(saved["curriculum"])
        self._build()
        self._log = Pending(MetricsLog(self.folder / "metrics.jsonl"), self._trackers)
        self._log.load_state_dict(saved["log"])
        self._timings = TimingsLog(self.folder / "timings.jsonl")
        self._restore(saved)

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
        checkpoint.set_random_states(saved["random"])

    def _build(self) -> None:
        torch.manual_seed(self.seed)
        np.random.seed(self.seed % (1 << 32))
        random.seed(self.seed)
        self._copies = self._make(self._stage_params(), self.n_envs)
        plan = self._plan(self._copies)
        frozen = self._frozen(plan)
        learners = {n: self._algorithm(self.settings, p, self._updates()).to(self._device) for n, p in plan.items() if n not in frozen}
        self.team = Team(plan, learners, frozen, warm_up=getattr(self.settings, "warm_up", 0))
        self._buffers = self._make_buffers()
        self._collector = LaneCollector(self.team, self._copies, self._buffers, self.seed, self._device)
        self._counters = _Counters()
        self._trainer = self.team.create_trainer(self._trainer_params())
        self._judge = self._make_judge()

    @property
    def plan(self) -> dict[str, Part]:
        """Part name -> part."""
        return self.team.plan

    @property
    def policies(self) -> dict[str, Any]:
        """Part name -> policy, scripted rivals included."""
        return {name: self.team.member(name) for name in self.team.plan}

    def _plan(self, copies: Copies) -> dict[str, Part]:
        return parts(copies, self.settings.sharing, None if self._rivals is None else 1)

    def _frozen(self, plan: Mapping[str, Part]) -> dict[str, Policy]:
        """Policies of the parts that do not learn."""
        return {n: scripted(self._copies, p, str(self._rivals), self.seed) for n, p in plan.items() if n.endswith("_rivals")}

    def _stage_params(self) -> Mapping[str, Any]:
        return {} if self._curriculum is None else self._curriculum.params

    def _epoch_steps(self) -> int:
        """Env steps an epoch: a rollout on-policy, about 128 ticks off-policy."""
        ticks: int = self.settings.rollout
        if not self.team.on_policy:
            ticks *= max(1, 128 // ticks)
        return ticks * self.n_envs

    def _updates(self) -> int:
        """Updates in the whole run, for a learning rate that falls over it; where the end is in episodes, one counts as a rollout."""
        rollouts = -(-self.schedule.total // (self.settings.rollout * self.n_envs))
        if self.schedule.unit == "episodes":
            rollouts = -(-self.schedule.total // self.n_envs)
        return int(rollouts * getattr(self.settings, "updates", 1))

    def _make_buffers(self) -> Buffers:
        buffers = Buffers()
        for i, (name, learner) in enumerate(self.team.learners.items()):
            part, on_policy = self.plan[name], self.team.on_policy
            lanes = part.n * self._copies.n_envs
            rows = self.settings.rollout if on_policy else max(-(-self.settings.replay // lanes), self.settings.rollout)
            own: Any = learner
            fields, width = own.FIELDS, own.policy.row_width
            buffers[name] = LaneBuffer(
                part.n, self._copies.n_envs, rows, part.width, width, fields=fields, keep_next=not on_policy, seed=self.seed + i
            )
        return buffers

    def _trainer_params(self) -> OnPolicyTrainerParams | OffPolicyTrainerParams:
        shared = {
            "training_collector": self._collector,
            "max_epochs": 1 << 40,
            "epoch_num_steps": self._epoch_steps(),
            "collection_step_num_env_steps": self.settings.rollout * self.n_envs,
            "show_progress": False,
            "verbose": False,
            "logger": self._counters,
            "resume_from_log": True,
        }
        if self.team.on_policy:
            return OnPolicyTrainerParams(**shared, batch_size=None, update_step_num_repetitions=self.settings.epochs)
        share = self.settings.updates / (self.settings.rollout * self.n_envs)
        return OffPolicyTrainerParams(**shared, batch_size=self.settings.batch, update_step_num_gradient_steps_per_sample=share)

    def _make_judge(self) -> Judge:
        stage = dict(self._stage_params())
        return Judge(
            lambda n: self._make(stage, n), self.plan, self.schedule.evaluation_episodes, self.seed, trained_focal=self._rivals is not None
        )

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
        return Outcome(self._trainer._env_step, self._best, self._best_steps, self._ended)

    def _after_epoch(self, losses: dict[str, float]) -> None:
        finished = self._collector.take_finished()
        self._episodes += len(finished)
        row = dict(losses)
        if len(finished):
            row |= self._train_row(finished)
        if self.done >= self.schedule.total:
            self._ended = COMPLETE
        due = self.done // self.schedule.evaluation_every > self._evaluated
        self._write_row(row, evaluate=due or self._ended != "")

    def _train_row(self, finished: Any) -> dict[str, float]:
        returns, metrics = np.concatenate(finished.returns), np.concatenate(finished.metrics)
        row = {"train/return": float(returns.mean()), "train/length": float(np.concatenate(finished.lengths).mean())}
        row |= {f"train/{role}/return": float(returns[:, v.group.lo : v.group.hi].mean()) for role, v in self._copies.groups.items()}
        row |= {f"train/{name}": float(metrics[:, :, k].mean()) for k, name in enumerate(self._copies.metric_names)}
        costs = np.concatenate(finished.costs)
        return row | {f"train/cost/{name}": float(costs[:, :, k].mean()) for k, name in enumerate(self._copies.cost_names)}

    def _write_row(self, row: dict[str, float], evaluate: bool) -> None:
        moved = False
        if evaluate:
            verdict = self._judge.verdict(self.policies)
            row |= verdict.row()
            moved = self._take(verdict)
            self._evaluated = self.done // self.schedule.evaluation_every
        row |= {"train/episodes": self._episodes}
        if self._curriculum is not None:
            row["curriculum/stage"] = self._curriculum.index
        self._log.row(self._trainer._env_step, row)
        self._timings.append(self._trainer._env_step, {"episodes": self._episodes})
        if moved:
            self._next_stage()
        first, due = self.done == 0, self.done // self.schedule.checkpoint_every > self._saved
        if self._ended or first or due:
            self._save()
        self._watch(Progress(self.done, self.schedule.total, self._trainer._env_step, row))

    def _take(self, verdict: Verdict) -> bool:
        """Keep the best policy, stop where patience ends; True where the curriculum moves to another stage."""
        value = verdict.score if verdict.score is not None else float(verdict.evaluation.by_episode.mean())
        if value > self._best or self.done == 0:
            self._best, self._best_at, self._best_steps = value, self.done, self._trainer._env_step
            checkpoint.save(self.folder / "best.pt", {"team": self.team.state_dict(), "step": self._best_steps, "value": value})
        if self.schedule.patience and self.done - self._best_at >= self.schedule.patience and not self._ended:
            self._ended = f"no better evaluation for {self.done - self._best_at} {self.schedule.unit}"
        return self._curriculum is not None and not self._ended and self._curriculum.observe(self._trainer._env_step, value)

    def _next_stage(self) -> None:
        """Go on with copies of the curriculum's present stage; replay of the last one is dropped."""
        assert self._curriculum is not None
        self._copies.close()
        self._copies = self._make(self._stage_params(), self.n_envs)
        plan = self._plan(self._copies)
        widths = [{n: (p.width, p.group.action) for n, p in x.items() if not n.endswith("_rivals")} for x in (plan, self.plan)]
        if widths[0] != widths[1]:
            raise UserError(f"stage {self._curriculum.index} has parts {widths[0]}: the policies were made for {widths[1]}")
        self.team.plan = plan
        self._collector.attach(self._copies)
        self._collector.buffer = self._buffers = self._make_buffers()
        self._copies.reset(seed_of(self.seed, f"stage at {self._trainer._env_step}"))
        self._judge = self._make_judge()
        self._best, self._best_at = -float("inf"), self.done

    def _save(self) -> None:
        self._saved = self.done // self.schedule.checkpoint_every
        generators = {n: p.generator.bit_generator.state for n, p in self.policies.items() if hasattr(p, "generator")}
        covered = self._log.state_dict()
        content = {
            "seed": self.seed,
            "team": self.team.state_dict(),
            "buffers": {name: buffer.state_dict() for name, buffer in self._buffers.items()},
            "copies": self._copies.state_dict(),
            "collector": self._collector.state_dict(),
            "scripted": generators,
            "counters": [self._best, self._best_at, self._best_steps, self._episodes, self._evaluated, self._saved],
            "ended": self._ended,
            "trainer": [self._trainer._epoch, self._trainer._env_step, self._trainer._current_update_step],
            "curriculum": None if self._curriculum is None else self._curriculum.state_dict(),
            "log": covered,
            "random": checkpoint.random_states(),
        }
        checkpoint.save(self.folder / "last.pt", content)
        self._log.release(covered["offset"])
        self._keep(content)

    def _keep(self, content: Mapping[str, Any]) -> None:
        if not self.schedule.keep:
            return
        checkpoint.save(self.folder / f"step_{self._trainer._env_step:012d}.pt", content)
        for old in sorted(self.folder.glob("step_*.pt"))[: -self.schedule.keep]:
            old.unlink()
