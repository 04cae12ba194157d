"""Promotion, demotion, exact resume, and what is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import envs
from curricula import CURRICULA, Curriculum, Stage, load, same_columns
from marl.errors import UserError
from marl.game import Role
from tests.commons import ACTION, COMMONS, OBSERVATION

EASY = Stage("easy", {"growth": 1.0}, promote=0.8, window=2, minimum_steps=30)
MIDDLE = Stage("middle", {"growth": 0.5}, promote=0.8, demote=0.2, window=3)
HARD = Stage("hard", {"growth": 0.1}, demote=0.4, on="return", window=1)
STAGES = (EASY, MIDDLE, HARD)
EVALUATIONS = st.lists(st.tuples(st.integers(0, 40), st.floats(-0.5, 1.5) | st.sampled_from([0.2, 0.4, 0.8])), max_size=40)


def walk(curriculum: Curriculum, values: Sequence[float], step: int = 0, every: int = 10) -> list[bool]:
    return [curriculum.observe(step + every * (i + 1), value) for i, value in enumerate(values)]


def test_promotion_needs_a_full_window_the_mean_and_the_steps() -> None:
    curriculum = Curriculum(STAGES)
    assert (curriculum.stage, curriculum.params) == (EASY, {"growth": 1.0})
    assert walk(curriculum, [0.9, 0.9, 0.69, 0.9, 0.71]) == [False] * 4 + [True]
    assert (curriculum.stage, curriculum.index, curriculum.params) == (MIDDLE, 1, {"growth": 0.5})
    assert curriculum.history == [(50, "easy", "middle")]


def test_threshold_itself_promotes_and_does_not_demote() -> None:
    assert [MIDDLE.move(mean) for mean in (0.8, math.nextafter(0.8, 0), 0.2, math.nextafter(0.2, 0))] == [1, 0, 0, -1]
    assert [EASY.move(mean) for mean in (-9.0, 0.8)] == [0, 1]
    assert [HARD.move(mean) for mean in (9.0, 0.4, 0.3)] == [0, 0, -1]


def test_demotion_and_a_window_of_the_stage_alone() -> None:
    """What was seen in the stage before neither promotes nor demotes in the next one."""
    curriculum = Curriculum(STAGES)
    walk(curriculum, [1.0] * 3)
    assert curriculum.stage is MIDDLE
    assert walk(curriculum, [0.0, 0.0], step=30) == [False, False]
    assert walk(curriculum, [0.1], step=50) == [True]
    assert curriculum.stage is EASY
    assert curriculum.history == [(30, "easy", "middle"), (60, "middle", "easy")]
    assert walk(curriculum, [1.0, 1.0], step=60) == [False, False]
    assert walk(curriculum, [1.0], step=80) == [True]


def test_no_flapping_between_the_thresholds() -> None:
    curriculum = Curriculum(STAGES)
    walk(curriculum, [1.0] * 3)
    assert not any(walk(curriculum, [0.79, 0.21, 0.5] * 20, step=30))


@given(EVALUATIONS)
def test_is_its_slow_twin(evaluations: list[tuple[int, float]]) -> None:
    """The same walk recomputed from the whole past each time."""
    curriculum, step = Curriculum(STAGES), 0
    index, entered, seen = 0, 0, []
    for ahead, value in evaluations:
        step += ahead
        seen.append(value)
        stage = STAGES[index]
        recent, move = seen[-stage.window :], 0
        if len(seen) >= stage.window and step >= entered + stage.minimum_steps:
            if stage.promote is not None and float(sum(map(Fraction, recent)) / len(recent)) >= stage.promote:
                move = 1
            elif stage.demote is not None and float(sum(map(Fraction, recent)) / len(recent)) < stage.demote:
                move = -1
        assert curriculum.observe(step, value) == (move != 0)
        if move:
            index, entered, seen = index + move, step, []
        assert curriculum.index == index


@given(EVALUATIONS)
def test_changes_are_single_steps_apart_in_time(evaluations: list[tuple[int, float]]) -> None:
    curriculum, step, changed = Curriculum(STAGES), 0, 0
    for ahead, value in evaluations:
        step += ahead
        changed += curriculum.observe(step, value)
    names = [s.name for s in STAGES]
    assert len(curriculum.history) == changed
    at, since = 0, 0
    for when, left, entered in curriculum.history:
        assert left == names[at] and abs(names.index(entered) - at) == 1
        assert when - since >= STAGES[at].minimum_steps
        at, since = names.index(entered), when
    assert at == curriculum.index


@given(EVALUATIONS)
def test_resumed_at_every_point_is_never_interrupted(evaluations: list[tuple[int, float]]) -> None:
    whole, broken, step = Curriculum(STAGES), Curriculum(STAGES), 0
    for ahead, value in evaluations:
        step += ahead
        saved = json.loads(json.dumps(broken.state_dict()))
        broken = Curriculum(STAGES)
        broken.load_state_dict(saved)
        assert whole.observe(step, value) == broken.observe(step, value)
        assert whole.state_dict() == broken.state_dict()
        assert whole.history == broken.history
        assert whole.stage is broken.stage


def test_state_does_not_change_behind_the_checkpoint() -> None:
    curriculum = Curriculum(STAGES)
    walk(curriculum, [0.9])
    saved = curriculum.state_dict()
    before = json.dumps(saved)
    walk(curriculum, [1.0] * 5, step=10)
    assert json.dumps(saved) == before
    other = Curriculum(STAGES)
    other.load_state_dict(saved)
    walk(other, [1.0] * 5, step=10)
    assert json.dumps(saved) == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"promote": 0.5, "demote": 0.5}, r"demote = 0.5 \(score\) must be below promote = 0.5"),
        ({"promote": 0.5, "demote": 0.9}, r"demote = 0.9 \(score\) must be below promote = 0.5"),
        ({"promote": math.nan}, r"promote = nan \(score\)"),
        ({"demote": math.inf, "promote": None}, r"demote = inf \(score\)"),
        ({"promote": "high"}, r"promote = 'high' \(score\)"),
        ({"window": 0}, "window = 0, legal are whole numbers from 1"),
        ({"window": 2.5}, "window = 2.5"),
        ({"minimum_steps": -1}, "minimum_steps = -1, legal are whole numbers from 0"),
        ({"on": "reward"}, "on = 'reward', legal are score, return"),
        ({"name": ""}, "a name is expected"),
    ],
)
def test_bad_stage_is_refused(wrong: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(MIDDLE, **wrong)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "= none: at least one"),
        ([EASY, EASY, HARD], "= easy, easy, hard: .* each under its own name"),
        ([replace(EASY, promote=None), HARD], "stage 'easy': promote = None, a threshold is expected in front of stage 'hard'"),
        ([EASY, MIDDLE], "stage 'middle': promote = 0.8, None is expected in the last stage"),
        ([MIDDLE, HARD], "stage 'middle': demote = 0.2, None is expected in the first stage"),
    ],
)
def test_bad_order_is_refused(stages: list[Stage], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Curriculum(stages)


def test_one_stage_is_a_curriculum() -> None:
    curriculum = Curriculum([Stage("only")])
    assert not any(walk(curriculum, [5.0] * 10))


def test_parameters_are_checked_at_construction() -> None:
    Curriculum(STAGES, same_columns(COMMONS))
    with pytest.raises(UserError, match=r"^stage 'hard': CommonsParams has no parameter 'groth'"):
        Curriculum([EASY, replace(HARD, params={"groth": 0.1})], same_columns(COMMONS))
    with pytest.raises(UserError, match=r"^stage 'hard': CommonsParams.growth = -1.* 1/tick: legal range is \[0, 4\]"):
        Curriculum([EASY, replace(HARD, params={"growth": -1.0})], same_columns(COMMONS))
    with pytest.raises(UserError, match=r"^stage 'easy': CommonsParams.capacity = 0"):
        Curriculum(STAGES, same_columns(COMMONS, {"capacity": 0.0}))


def test_columns_that_change_between_stages_are_refused() -> None:
    """A network made for the first stage must fit in all."""
    wider = replace(COMMONS, roles=lambda p: (Role("h", p.n_agents, dict(list(OBSERVATION.items())[: 1 + (p.growth > 0.4)]), ACTION),))
    Curriculum([EASY, replace(HARD, params={"growth": 0.5})], same_columns(wider))
    with pytest.raises(UserError, match=r"^stage 'hard': learners see .* in stage 'easy' .* the same is expected"):
        Curriculum([EASY, HARD], same_columns(wider))
    Curriculum([EASY, replace(HARD, params={"n_agents": 2})], same_columns(COMMONS))


def test_bad_evaluations_are_refused_and_change_nothing() -> None:
    curriculum = Curriculum(STAGES)
    walk(curriculum, [0.5])
    before = curriculum.state_dict()
    for value in (None, math.nan, "0.5", True):
        with pytest.raises(UserError, match=r"curriculum stage 'easy': score = .* at step 20, a finite number"):
            curriculum.observe(20, value)  # type: ignore[arg-type]
    for step in (9, -1, 10.5, True):
        with pytest.raises(UserError, match=rf"step = {step!r}, legal are whole numbers from 10"):
            curriculum.observe(step, 0.5)  # type: ignore[arg-type]
    assert curriculum.state_dict() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": ["easy", "hard"]}, "saved curriculum has stages easy, hard: expected easy, middle, hard"),
        ({"index": 3}, r"at stage 3: legal range is \[0, 2\]"),
        ({"values": None}, "lacks 'values'"),
    ],
)
def test_foreign_state_is_refused(change: Mapping[str, Any], message: str) -> None:
    saved = {k: v for k, v in {**Curriculum(STAGES).state_dict(), **change}.items() if v is not None}
    with pytest.raises(UserError, match=message):
        Curriculum(STAGES).load_state_dict(saved)


@pytest.mark.parametrize("name", list(CURRICULA))
def test_every_registered_curriculum_is_walked_to_its_end_and_back(name: str) -> None:
    curriculum = load(name)
    step = 0
    while curriculum.index < len(curriculum.stages) - 1:
        step += 1 + curriculum.stage.minimum_steps
        assert curriculum.stage.promote is not None
        curriculum.observe(step, curriculum.stage.promote)
    assert curriculum.stage.demote is not None
    for _ in range(curriculum.stage.window):
        step += 1 + curriculum.stage.minimum_steps
        changed = curriculum.observe(step, curriculum.stage.demote - 1.0)
    assert changed
    assert curriculum.index == len(curriculum.stages) - 2


def test_the_auctions_stages() -> None:
    """Legal parameters of the game, with the same columns and a reference to be scored against."""
    game = envs.game("auction")
    first, second = load("auction_formats", same_columns(game)).stages
    assert game.reference is not None
    assert [game.reference(game.make_params(**s.params)) for s in (first, second)] == ["equilibrium", "equilibrium"]
    assert (first.params["format"], second.params["format"]) == ("second", "first")
    assert first.params["n_agents"] == second.params["n_agents"] == 2


def test_the_markets_stages() -> None:
    """The six of the reference in ten steps, with the same columns: formats, budgets, positions, a crowd, journeys."""
    game = envs.game("auction")
    stages = load("auction", same_columns(game)).stages
    made: list[Any] = [game.make_params(**s.params) for s in stages]
    assert [p.n_agents for p in made] == [2, 2, 4, 8, 8, 8, 16, 48, 16, 16]
    assert [p.format for p in made[:3]] == ["second", "first", "first"] and made[0].feedback == "full"
    assert [p.budget_tightness for p in made[3:5]] == [2.0, 0.5]
    assert made[5].format == "gsp" and made[5].slots == 3 and made[5].feedback == "winner" and made[5].drift > 0 and made[5].cpa_low > 0
    assert made[7].slots == 10 and made[7].fatigue > 0 and made[7].creatives == 3
    assert [p.delay for p in made[8:]] == [3.0, 7.0] and all(p.window == 14.0 and p.journeys and p.identity < 1 for p in made[8:])


def test_the_clusters_stages() -> None:
    """Five, with the same columns, more and more tenants, and a reference to be scored against."""
    game = envs.game("cluster")
    stages = load("resource_allocation", same_columns(game)).stages
    assert [s.name for s in stages] == ["basic", "multi", "bursty", "contended", "master"]
    made = [game.make_params(**s.params) for s in stages]
    assert [p.n_agents for p in made] == [4, 8, 16, 32, 64]  # type: ignore[attr-defined]
    assert game.reference is not None and {game.reference(p) for p in made} == {"urgent"}


def test_the_supply_chains_stages() -> None:
    """Three, a stress and a replay, with the same columns, more and more nodes, suppliers and products, and held-out networks."""
    game = envs.game("supply_chain")
    stages = load("supply_chain", same_columns(game)).stages
    assert [s.name for s in stages] == ["simple", "medium", "complex", "stress", "replay"]
    made: list[Any] = [game.make_params(**s.params) for s in stages]
    assert [p.n_agents for p in made] == [6, 12, 36, 36, 12] and [p.products for p in made] == [3, 6, 10, 10, 10]
    assert [int((p.layout.up == p.n_agents).sum()) for p in made][:3] == [2, 4, 8]
    assert game.reference is not None and {game.reference(p) for p in made} == {"base_stock"}
    assert all(len(game.trials(p)) == 2 for p in made if game.trials is not None)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match="curriculum = 'auctoin': no such curriculum, legal are auction_formats"):
        load("auctoin")


def test_import_is_light() -> None:
    code = (
        "import sys, curricula; curricula.load('auction_formats'); print([m for m in ('torch', 'numba', 'tianshou') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
