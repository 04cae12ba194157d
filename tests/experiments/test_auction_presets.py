"""The earlier platform's experiments: what each resolves to."""

from __future__ import annotations

import pytest

from experiments.compose import compose

CAMPAIGN = {"name": "auction", "preset": "campaign", "mode": "advertising", "actions": "campaign", "pay": "weighted", "ticks_per_day": 1}
RESOLVED = {
    "gaelp_ppo": ("ippo", {"lr": 3e-4, "clip": 0.2, "gae_lambda": 0.95, "rollout": 2_048}),
    "gaelp_ppo_custom": ("ippo", {"lr": 1e-4, "clip": 0.15, "gae_lambda": 0.95, "rollout": 2_048}),
    "gaelp_sac": ("isac", {"lr": 3e-4, "tau": 0.005, "target_entropy": -4.0, "replay": 1_000_000}),
    "gaelp_dqn": ("idqn", {"lr": 3e-4, "double": True, "epsilon_steps": 100_000, "target": 625}),
}


@pytest.mark.parametrize("experiment", RESOLVED)
def test_experiments_resolve_to_the_documents_settings(experiment: str) -> None:
    config = compose([f"experiment={experiment}"]).config
    name, settings = RESOLVED[experiment]
    assert config["algorithm"]["name"] == name and config["n_envs"] == 16
    assert {key: config["algorithm"][key] for key in settings} == settings
    assert {key: config["env"][key] for key in CAMPAIGN} == CAMPAIGN
    weights = {key: weight for key, weight in config["env"]["weights"].items() if weight}
    assert weights == {
        "roas": 1.0, "ctr": 0.3, "conversion": 0.5, "safety": 0.8, "efficiency": 0.4, "exploration": 0.1, "diversity": 0.15,
        "violations": -2.0,
    }  # fmt: skip
    if experiment == "gaelp_dqn":  # 10,000 environment steps between copies of the target network
        assert config["algorithm"]["target"] * config["n_envs"] * config["algorithm"]["rollout"] == 10_000


def test_the_hybrids_journey_resolves_to_the_documents_settings() -> None:
    config = compose(["experiment=gaelp_hybrid"]).config
    wanted = {"name": "hybrid", "memory": "lstm", "replay": 50_000, "batch": 256, "gae_lambda": 0.95, "learner": "both", "route": "both"}
    assert {key: config["algorithm"][key] for key in wanted} == wanted
    assert (config["n_envs"], config["threads"]) == (16, 2)
    assert {key: config["env"][key] for key in ("preset", "actions", "pay", "creatives")} == {
        "preset": "journey", "actions": "hybrid", "pay": "four_part", "creatives": 50,
    }  # fmt: skip


def test_the_ensemble_resolves_to_its_three_experiments() -> None:
    config = compose(["experiment=gaelp_ensemble"]).config
    assert config["ensemble"] == {"members": ["gaelp_ppo", "gaelp_sac", "gaelp_dqn"], "kind": "uncertainty"}
    assert config["env"]["preset"] == "campaign"
