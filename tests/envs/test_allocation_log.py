"""Traces: what is read, what is refused, and that the replay is the file; on a small written trace, and on real ones where they are."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.resource_allocation.data import generate, read_trace, synthetic_trace, write_trace
from marl import UserError
from tests.envs.test_allocation import action, own, run

DATA = Path(os.environ.get("MARL_DATA") or Path(__file__).parents[3] / "shared" / "data") / "resource_allocation"
HEAD = "t_s,context_tokens,generated_tokens\n"


def small(folder: Path, rows: int = 600) -> str:
    path = str(folder / "trace.csv")
    generate(path, rows, seed=3)
    return path


def test_synthetic_trace_has_the_facts() -> None:
    trace = synthetic_trace(40_000, seed=1)
    assert len(trace.arrival) / trace.arrival[-1] == pytest.approx(5.53, rel=0.05)
    assert np.log(trace.context).mean() == pytest.approx(6.63, abs=0.02) and np.log(trace.context).std() == pytest.approx(0.985, abs=0.02)
    assert np.log(trace.generated[trace.generated < 1_000]).mean() == pytest.approx(5.0, abs=0.05)
    gaps = np.diff(trace.arrival)
    assert (gaps >= 0).all() and gaps.std() / gaps.mean() > 1.15  # burstier than Poisson
    assert (synthetic_trace(50, seed=1).arrival != synthetic_trace(50, seed=2).arrival).any()


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / name)
    trace = synthetic_trace(200, seed=9)
    write_trace(path, trace)
    for mine, theirs in zip(read_trace(path), trace, strict=True):
        assert (mine == theirs).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1: column 't_s' is missing"),
        ("t_s,context_tokens\n1,2\n", "line 1: column 'generated_tokens' is missing"),
        (HEAD + "0,5\n", "line 2: 2 cells, 3 are expected"),
        (HEAD + "0,5,much\n", "line 2, column 'generated_tokens': 'much', a number in [0, 1e+09] is expected"),
        (HEAD + "0,5,nan\n", "line 2, column 'generated_tokens': 'nan'"),
        (HEAD + "0,5,1\n-1,5,1\n", "line 3, column 't_s': '-1'"),
        (HEAD + "2,5,1\n1,5,1\n", "line 3, column 't_s': 1 after 2, arrivals in order are expected"),
        (HEAD + "0,5.5,1\n1,5,1\n", "line 2, column 'context_tokens': 5.5, a whole number of tokens is expected"),
        (HEAD + "0,5,1\n", "1 requests after the header, at least two are expected"),
        (HEAD + "3,5,1\n3,5,1\n", "column 't_s': all requests come at second 3"),
    ],
)
def test_broken_traces_are_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_trace(str(path))
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_unreadable_traces_are_refused(tmp_path: Path) -> None:
    for name in ("none.csv", "text.gz"):
        (tmp_path / "text.gz").write_text("no gzip")
        with pytest.raises(UserError, match="cannot be read"):
            read_trace(str(tmp_path / name))
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(f"{HEAD}0,5,1\n1,5,1\n".encode())[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        read_trace(str(tmp_path / "cut.csv.gz"))


def replayed(path: str, **settings: Any) -> Any:
    """(jobs that came in each tick [T], params) of the whole part of the trace from its beginning."""
    game = envs.make("allocation_log", 1, trace=path, horizon=100_000, mechanism="drf", queue_limit=4_096, **settings)
    game.reset(0)
    ticks, offset = game.params.replay_ticks, int(game.world.all[0, 1])  # type: ignore[attr-defined]
    came, act = np.zeros(ticks, np.int64), action(game, defer=1.0)
    for t in range(ticks):
        game.step(act)
        came[(offset + t) % ticks] = own(game, "came").sum()
    return came, game.params, own(game, "arrived").sum()


def check_replay(path: str) -> None:
    """Both parts hold every request once, in its tick; a tick of the training part has the load that is asked for."""
    trace = read_trace(path)
    border = int(len(trace.arrival) * 0.7)
    for split, part in (("train", slice(0, border)), ("test", slice(border, None))):
        came, p, arrived = replayed(path, split=split, n_agents=4, load=0.9)
        assert came.sum() == arrived == len(trace.arrival[part])
        tables = p.tables()
        assert (came == np.diff(tables["first"])).all()
        assert (tables["works"] == 1 + trace.generated[part] // 50).all()
        order = np.argsort(trace.context[part], kind="stable")
        assert (np.diff(tables["kinds"][order]) >= 0).all()
        if split == "train":
            work = (p.layout.demand[tables["kinds"]] * tables["works"][:, None]).sum(0) / len(came)
            assert (work / p.layout.capacity.sum(0)).max() == pytest.approx(0.9, rel=0.02)


def test_the_replay_is_the_file(tmp_path: Path) -> None:
    check_replay(small(tmp_path))


@pytest.mark.parametrize("name", ["conv", "code"])
def test_the_replay_is_the_real_trace(name: str) -> None:
    path = DATA / f"azure_llm_{name}_2023.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here: the real traces lie beside the checkout or under MARL_DATA")
    trace = read_trace(str(path))
    rate, gaps = len(trace.arrival) / trace.arrival[-1], np.diff(trace.arrival)
    facts = {"conv": (19_366, 5.53, 1.09), "code": (8_819, 2.57, 13.2)}[name]
    assert (len(trace.arrival), round(rate, 2)) == facts[:2] and gaps.std() / gaps.mean() == pytest.approx(facts[2], rel=0.01)
    check_replay(str(path))


def test_training_begins_anywhere_and_the_test_at_its_beginning(tmp_path: Path) -> None:
    path = small(tmp_path)
    for split, several in (("train", True), ("test", False)):
        game = envs.make("allocation_log", 30, trace=path, split=split)
        game.reset(0)
        assert (len(set(game.world.all[:, 1].tolist())) > 10) == several


def test_trials_are_the_held_out_part(tmp_path: Path) -> None:
    game = envs.game("allocation_log")
    p = game.make_params(trace=small(tmp_path))
    trials = game.trials(p)  # type: ignore[misc]
    assert {t.split for t in trials.values()} == {"test"} and p.split == "train"  # type: ignore[attr-defined]
    held = envs.make("allocation_log", 4, trace=p.trace, split="test")  # type: ignore[attr-defined]
    run(held, action(held), 200)
    assert (held.metrics[:, :, held.metric_names.index("throughput")].sum(1) > 0.3).all()


def test_other_arrivals_are_the_clusters() -> None:
    with pytest.raises(UserError, match=r"AllocationLogParams.arrivals = 'poisson': legal is 'trace'"):
        envs.game("allocation_log").make_params(arrivals="poisson")
    with pytest.raises(UserError, match=r"nowhere\.csv: cannot be read"):
        envs.game("allocation_log").make_params(trace="nowhere.csv")


def test_skew_deals_requests_out_unequally(tmp_path: Path) -> None:
    path = small(tmp_path)
    for skew in (0.0, 1.0):
        game = envs.make("allocation_log", 60, trace=path, n_agents=4, skew=skew, mechanism="drf", horizon=150, queue_limit=400)
        run(game, action(game, defer=1.0), 149)
        came = own(game, "arrived").sum(0)
        shares = np.arange(1, 5) ** -skew / (np.arange(1, 5) ** -skew).sum()
        assert came / came.sum() == pytest.approx(shares, abs=4.5 * np.sqrt(0.25 / came.sum()))
    with pytest.raises(UserError, match=r"ClusterParams.skew = 1.0 with arrivals = 'poisson': legal is 0"):
        envs.game("cluster").make_params(skew=1.0)
