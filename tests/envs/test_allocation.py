"""What each mechanism of the cluster does on cases worked by hand, and what the cluster's parts add up to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.resource_allocation import theory
from envs.resource_allocation.params import MECHANISMS, ClusterParams
from envs.resource_allocation.state import OWN, RUN
from marl import UserError, VectorGame
from marl.trial import played

ONE = {"nodes": "1 4", "demand": "1", "work": "5", "value": "1", "service": "fixed"}
BURSTS: dict[str, Any] = {"burst": 2.5, "burst_length": 5.0, "quiet_length": 15.0}


def at(game: VectorGame, name: str) -> Any:
    return game.metrics[:, :, game.metric_names.index(name)]


def own(game: VectorGame, name: str) -> Any:
    """A count of the tenants, [B, A]."""
    return game.world.own[:, :, OWN.index(name)]


def action(game: VectorGame, request: Any = 1.0, bid: Any = 0.05, defer: Any = 0.0) -> Any:
    """The same request of every resource for all copies; each argument is a number or one a tenant [A]. With defer 1 nothing starts."""
    wanted = np.zeros(game.action.shape)
    r, n = game.params.resources, game.params.n_agents  # type: ignore[attr-defined]
    wanted[:, :n, :r] = np.reshape(request, (-1, 1))
    wanted[:, :n, r], wanted[:, :n, r + 1] = bid, defer
    if game.n_agents > n:
        wanted[:, n, :n] = 1.0
    return wanted


def run(game: VectorGame, act: Any, ticks: int, seed: int = 0) -> VectorGame:
    game.reset(seed)
    for _ in range(ticks):
        game.step(act)
        assert not game.residual.any()
    return game


def test_dominant_resource_fairness_of_the_paper_job_by_job() -> None:
    """9 CPU and 18 GB, jobs of <1, 4> and <3, 1>: three and two run, dominant shares 2/3 each (Ghodsi et al. 2011)."""
    game = envs.make(
        "cluster", 4, n_agents=2, mechanism="drf", nodes="1 9 18", demand="1 4 / 3 1", work="100 100", value="1 1", affinity=1.0,
        service="fixed", load=20.0, horizon=60,
    )  # fmt: skip
    run(game, action(game, defer=1.0), 40)
    assert (own(game, "queued") > 3).all()
    game.step(action(game))
    assert (own(game, "running") == [3, 2]).all()
    assert game.obs[:, :, 4] == pytest.approx(np.full((4, 2), 2 / 3))
    assert theory.drf_shares([[1, 4], [3, 1]], [9, 18]) == pytest.approx([3, 2])


def shares_of(mechanism: str, bid: Any = 0.05, **settings: Any) -> Any:
    """Mean dominant shares [A] of two tenants with always enough jobs to do."""
    base = {"n_agents": 2, "nodes": "1 60", "demand": "1", "work": "6", "value": "1", "load": 4.0, "horizon": 300, "queue_limit": 400}
    game = envs.make("cluster", 8, mechanism=mechanism, **{**base, **settings})
    run(game, action(game, bid=bid), 300)
    return at(game, "dominant_share").mean(0)


def test_shares_go_with_bids_and_weights() -> None:
    """With always enough jobs, resources go in proportion to what is paid; equally under the fair mechanisms."""
    paid = shares_of("proportional_share", bid=[0.03, 0.01], income=1.0, purse=1.0)
    assert paid == pytest.approx([0.75, 0.25], abs=0.03)
    for mechanism in ("drf", "max_min", "proportional_fair", "equal_split"):
        assert shares_of(mechanism) == pytest.approx([0.5, 0.5], abs=0.02), mechanism
    game = envs.make("cluster", 4, n_agents=2, mechanism="arbiter", nodes="1 60", demand="1", work="6", value="1", load=4.0, horizon=200)
    weighted = action(game)
    weighted[:, 2, :2] = [0.8, 0.2]
    assert at(run(game, weighted, 200), "dominant_share")[:, :2].mean(0) == pytest.approx([0.8, 0.2], abs=0.05)


def test_equal_split_leaves_what_others_do_not_use_and_the_fair_ones_do_not() -> None:
    """Tenant 1 holds everything back: tenant 0 gets all under max-min and drf, a half under an equal split."""
    for mechanism, share in (("max_min", 1.0), ("drf", 1.0), ("proportional_fair", 1.0), ("equal_split", 0.5)):
        game = envs.make("cluster", 2, n_agents=2, mechanism=mechanism, **{**ONE, "nodes": "1 60"}, load=6.0, horizon=60)
        run(game, action(game, defer=[0.0, 1.0]), 59)
        assert game.obs[:, :, 4] == pytest.approx(np.array([[share, 0.0]] * 2)), mechanism


def first_started(mechanism: str) -> Any:
    """Classes of running jobs after ticks in which the cluster, of one slot, was kept shut and then opened, [B]."""
    game = envs.make(
        "cluster", 64, n_agents=3, mechanism=mechanism, nodes="1 1", demand="1 / 1 / 1", work="7 2 5", value="2 1 3", affinity=1.0,
        service="fixed", load=3.0, horizon=40, queue_limit=30,
    )  # fmt: skip
    run(game, action(game, defer=1.0), 20)
    waiting, heads = own(game, "queued").copy(), own(game, "head")[:, :, None]
    since = np.take_along_axis(game.world.wait[..., 2], heads, axis=2)[:, :, 0]
    game.step(action(game))
    some = (waiting > 0).all(axis=1)
    assert (game.world.all[:, 0] == 1).all() and some.sum() > 40
    return game.world.run[some, 0, RUN.index("kind")], since[some]


def test_order_of_the_ranked_mechanisms() -> None:
    kinds, since = first_started("fcfs")
    assert (since[np.arange(len(kinds)), kinds] == since.min(axis=1)).all() and len(set(kinds.tolist())) == 3
    assert (first_started("priority")[0] == 2).all()  # the most valuable
    assert (first_started("srpt")[0] == 1).all()  # the shortest


def test_first_come_is_not_overtaken_where_it_does_not_fit() -> None:
    """A job of 3 of 4 units waits behind one that runs: small ones behind it start under drf, and wait under fcfs."""
    for mechanism, running in (("fcfs", 1), ("drf", 2)):
        game = envs.make(
            "cluster", 512, n_agents=2, mechanism=mechanism, nodes="1 4", demand="3 / 1", work="50 50", value="1 1", affinity=1.0,
            service="fixed", load=2.0, horizon=60,
        )  # fmt: skip
        run(game, action(game, defer=[0.0, 1.0]), 30)  # tenant 0's jobs alone: one runs, more wait
        crowd = (own(game, "running")[:, 0] == 1) & (own(game, "queued")[:, 0] > 0) & (own(game, "queued")[:, 1] > 0)
        heads = np.take_along_axis(game.world.wait[..., 2], own(game, "head")[:, :, None], axis=2)[:, :, 0]
        older = crowd & (heads[:, 0] < heads[:, 1])
        assert older.sum() > 5
        game.step(action(game))
        assert (game.world.all[older, 0] == running).all(), mechanism


@pytest.mark.parametrize(("placement", "node"), [("best_fit", 1), ("first_fit", 0), ("worst_fit", 2)])
def test_placement(placement: str, node: int) -> None:
    one = {"n_agents": 1, "nodes": "1 6 / 1 4 / 1 9", "demand": "3", "work": "9", "value": "1", "load": 0.2, "service": "fixed"}
    game = envs.make("cluster", 8, mechanism="fcfs", placement=placement, **one)
    game.reset(0)
    found = np.full(8, -1)
    for _ in range(150):
        game.step(action(game))
        new = (found < 0) & (game.world.all[:, 0] > 0)
        found[new] = game.world.run[new, 0, RUN.index("node")]
    assert (found == node).all()


def test_requests_bound_what_is_held_and_a_job_may_always_run_alone() -> None:
    game = envs.make("cluster", 8, n_agents=2, mechanism="drf", **{**ONE, "nodes": "1 40"}, load=5.0, horizon=80)
    run(game, action(game, request=[0.1, 1.0]), 60)
    assert game.obs[:, :, 4] == pytest.approx(np.array([[0.1, 0.9]] * 8))
    alone = envs.make("cluster", 8, n_agents=2, mechanism="drf", **{**ONE, "nodes": "1 40", "demand": "8"}, load=5.0, horizon=80)
    run(alone, action(alone, request=[0.03, 1.0]), 60)
    assert alone.obs[:, :, 4] == pytest.approx(np.array([[0.2, 0.8]] * 8))  # one job, of a fifth of the cluster


def test_what_is_held_back_adds_up_over_ticks() -> None:
    """A tick releases the share 1 - defer of waiting jobs; parts of a job add up, so that one held back by .9 starts in its tenth tick."""
    game = envs.make("cluster", 64, n_agents=1, mechanism="drf", **{**ONE, "nodes": "1 4000"}, load=0.002, horizon=80, queue_limit=400)
    for defer in (0.0, 0.25, 0.5, 0.9, 1.0):
        game.reset(0)
        released = np.zeros(64)
        for _ in range(40):
            before = own(game, "queued")[:, 0].copy()
            game.step(action(game, defer=defer))
            released += (1 - defer) * (before + own(game, "came")[:, 0])
            started = np.floor(released + 1e-6)
            assert (own(game, "started")[:, 0] == started).all()
            released = np.maximum(released - started, 0.0)
    lone = envs.make("cluster", 256, n_agents=1, mechanism="drf", **{**ONE, "nodes": "1 400"}, load=0.0002, horizon=80)
    lone.reset(0)
    waited = np.zeros((256, 80))
    for t in range(79):
        lone.step(action(lone, defer=0.9))
        waited[:, t] = own(lone, "queued")[:, 0]
    single = (own(lone, "arrived")[:, 0] == 1) & (own(lone, "done")[:, 0] == 1)
    assert single.sum() > 50 and (waited[single].sum(1) == 9).all()  # nine ticks end with it waiting, the tenth starts it


def test_the_least_bid_is_as_good_as_nothing_and_is_served_last() -> None:
    """It costs a fiftieth of the income, and gets what nobody else wants; who bids it alone gets everything."""
    shares = shares_of("proportional_share", bid=[0.0, 0.05], income=0.1, purse=2.0)
    assert shares[0] < 0.1 and shares[1] > 0.9
    game = envs.make("cluster", 4, n_agents=3, horizon=100)
    run(game, action(game, bid=[0.0, 0.0, 0.0]), 100)
    assert (at(game, "payment") <= 0.02 * game.params.income + 1e-9).all()  # type: ignore[attr-defined]
    assert (at(game, "throughput") > 0.1).all()


def test_credits_are_paid_regenerate_and_stop_at_the_purse() -> None:
    game = envs.make("cluster", 2, n_agents=3, purse=1.0, income=0.1, horizon=40)
    game.reset(0)
    for _ in range(10):
        game.step(action(game, bid=[1.0, 0.2, 0.001]))
    assert own(game, "credit")[0].tolist() == pytest.approx([1e5, 5e5 + 5e5 * 0.8**10, 1e6], rel=1e-4)
    assert game.components[0, :, 1] == pytest.approx([-0.1, -own(game, "bid")[0, 1] / 1e6, -0.001])
    assert game.obs[0, 0, 6] == pytest.approx(own(game, "bid")[0].sum() / 1e6)
    free = envs.make("cluster", 2, n_agents=3, mechanism="drf", horizon=40)
    assert (run(free, action(free, bid=1.0), 9).components[..., 1] == 0).all()


def test_nothing_runs_on_a_node_that_is_down() -> None:
    """Outages stop jobs where they are: with nodes up half of the time, half as much is done, and none is lost."""
    up, down = (
        envs.make("cluster", 16, n_agents=2, mechanism="drf", **ONE, load=4.0, horizon=400, outage=x, repair=10.0) for x in (0.0, 0.1)
    )
    done = [own(run(g, action(g), 399), "done").sum() for g in (up, down)]
    assert 0.42 < done[1] / done[0] < 0.58
    assert 0.35 < down.cost.mean() + down.obs[..., 10].mean() < 1.5


def test_deadlines() -> None:
    """Jobs that wait too long are dropped when they head their queue; those that end late count, at a part of their value."""
    settings = {"n_agents": 1, "mechanism": "fcfs", **ONE, "load": 2.0, "slack": 1.4, "late": 0.25, "horizon": 200}
    game = envs.make("cluster", 8, **settings)
    game.reset(0)
    paid, missed, lost = set(), 0, 0
    for _ in range(199):
        game.step(action(game))
        paid |= set(np.round(game.components[..., 0].ravel() % 1, 6).tolist())
        missed += own(game, "missed").sum()
        lost += own(game, "lost").sum()
    assert paid == {0.0, 0.25, 0.5, 0.75}
    assert own(game, "dropped").sum() == lost > 0 and missed > lost
    assert (own(game, "arrived") == own(game, "queued") + own(game, "running") + own(game, "done") + own(game, "dropped")).all()
    patient = envs.make("cluster", 8, **{**settings, "slack": 0.0, "queue_limit": 500})
    run(patient, action(patient), 100)
    assert not own(patient, "dropped").any()


def test_a_full_queue_drops() -> None:
    game = envs.make("cluster", 4, n_agents=1, mechanism="drf", **ONE, load=4.0, queue_limit=3, horizon=60)
    run(game, action(game), 50)
    assert (own(game, "dropped") > 10).all() and (own(game, "queued") <= 3).all()


@pytest.mark.parametrize(
    "settings",
    [{}, BURSTS, {**BURSTS, "common": True}, {"amplitude": 0.9, "period": 12}, {"affinity": 0.7, "n_agents": 3}, {"service": "fixed"}],
)
def test_load_is_what_is_asked_for(settings: dict[str, Any]) -> None:
    """Demand of work that arrives, over capacity, on the scarcest resource."""
    game = envs.make("cluster", 200, **{"horizon": 241, "mechanism": "drf", "queue_limit": 2_000, **settings})
    game.reset(0)
    closed = action(game, defer=1.0)
    for _ in range(240):
        game.step(closed)
    p: Any = game.params
    mean = (p.tenant_mixture.mean(0) * p.layout.work) @ p.layout.demand
    assert (mean * p.tenant_rate * p.n_agents / p.layout.capacity.sum(0)).max() == pytest.approx(p.load)
    jobs = own(game, "arrived").sum(1) / 240
    assert abs(jobs.mean() - p.tenant_rate * p.n_agents) < 4.5 * jobs.std() / np.sqrt(200)
    work = game.world.all[:, 3] / 240
    assert abs(work.mean() - p.tenant_rate * (p.tenant_mixture @ np.ceil(p.layout.work)).sum()) < 4.5 * work.std() / np.sqrt(200)


def test_bursts_are_as_long_and_as_dense_as_asked_for() -> None:
    game = envs.make("cluster", 400, burst=3.0, burst_length=6.0, quiet_length=24.0, mechanism="drf", horizon=200, load=0.3)
    game.reset(0)
    phases = []
    for _ in range(150):
        game.step(action(game))
        phases.append(own(game, "phase").copy())
    shown = np.array(phases)
    assert shown.mean() == pytest.approx(0.2, abs=0.01)
    assert shown[0].mean() == pytest.approx(0.2, abs=0.03)  # begins in the long run's law
    left = (shown[:-1] == 1) & (shown[1:] == 0)
    assert left.sum() / (shown[:-1] == 1).sum() == pytest.approx(1 / 6, abs=0.01)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_accounts_hold_under_hostile_actions(mechanism: str) -> None:
    game = envs.make("cluster", 8, mechanism=mechanism, n_agents=5, load=1.5, slack=2.0, outage=0.05, horizon=50, queue_limit=8, burst=2.0)
    game.reset(3)
    for _ in played(game, 120, hostile=True):
        assert not game.residual.any()
        assert (game.world.free >= 0).all() and (game.world.free <= game.params.layout.capacity).all()  # type: ignore[attr-defined]
        assert (own(game, "credit") >= 0).all() and (own(game, "credit") <= game.params.purse_money).all()  # type: ignore[attr-defined]


def test_fairness_is_a_potential() -> None:
    """The fairness term is the change of Jain's index of the average dominant shares: over an episode it adds up to the whole change."""
    game = envs.make("cluster", 4, mechanism="drf", horizon=30)
    game.reset(0)
    total = np.zeros(4)
    for _ in range(30):
        game.step(action(game))
        total += game.components[:, 0, 5]
    assert total == pytest.approx(game.final_obs[:, 0, 9] - 1.0, abs=1e-6)
    assert theory.jain(game.metrics[0, :, game.metric_names.index("dominant_share")]) == pytest.approx(at(game, "jain")[0, 0])


@pytest.mark.parametrize("preset", envs.game("cluster").presets)
def test_baselines_stay_within_their_tables(preset: str) -> None:
    game = envs.make("cluster", 3, preset=preset)
    game.reset(0)
    for name, baseline in game.game.baselines.items():
        for view in game.groups.values():
            rows = view.obs.reshape(-1, view.group.width)
            acts = baseline(game.params, rows, np.random.default_rng(0))
            low, high = (np.array([getattr(c, end) for c in view.group.action.values()]) for end in ("low", "high"))
            assert acts.shape == (len(rows), len(low)) and (acts >= low).all() and (acts <= high).all(), (name, view.group.name)
            acts = np.resize(acts, (3, view.group.n, len(low)))
            game.action[:, view.group.lo : view.group.hi, : len(low)] = acts
        game.tick()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nodes": "4 8"}, "demand = '1 1 / 2 4 / 4 2': 1 numbers a class are expected"),
        ({"nodes": "4 8 x"}, "nodes = '4 8 x': rows of numbers"),
        ({"nodes": "4 8.5 1"}, "nodes = '4 8.5 1': whole numbers are expected"),
        ({"nodes": "0 8 8"}, "nodes = '0 8 8': 1 to 256 nodes"),
        ({"demand": "1 1 / 0 0 / 1 1"}, "classes that each take something"),
        ({"demand": "1 1 / 9 1 / 1 1"}, "class 1 fits on no node"),
        ({"work": "4 6"}, "work = '4 6': 3 numbers are expected, one for each class"),
        ({"work": "4 6 0.5"}, "work = '4 6 0.5': rows of numbers in [1, 1e+06]"),
        ({"value": "1 / 2 / 3"}, "value = '1 / 2 / 3': one row of numbers is expected"),
        ({"warm_up": 200}, "ClusterParams.warm_up = 200 ticks: legal is below the horizon of 200"),
        ({"burst": 6.0}, "ClusterParams.burst = 6.0 of the mean rate: legal is up to 5"),
        ({"arrivals": "events"}, "ClusterParams.arrivals = 'events' with 3 classes"),
        ({"preset": "mm1", "slack": 1.0}, "ClusterParams.slack = 1.0 with arrivals = 'events': legal is 0"),
        ({"load": 20.0, "nodes": "256 1000 1000", "n_agents": 1}, "jobs of a tenant in a peak's tick"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        envs.game("cluster").make_params(**settings)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_one_tenant_and_128() -> None:
    for n in (1, 128):
        p = ClusterParams(n_agents=n, nodes=f"{max(1, n // 2)} 8 16")
        game = envs.make("cluster", 2, n_agents=n, nodes=p.nodes, horizon=20)
        run(game, action(game), 20)
        assert game.obs.shape == (2, n, 23)
