"""Action masks by other names: honoured, or refused by name, never overlooked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces as gym

from marl import UserError, masks
from marl.external import vectorize
from marl.masks import LISTED, NONE, PERHAPS, SURE, best, binary
from tests.foreign import Available, Closed, Lanes

BESIDE = {
    "PettingZoo's": ("action_mask", ("observation",)),
    "RLlib's": ("action_mask", ("observations",)),
    "another key": ("action_mask", ("real_obs",)),
    "a third entry": ("action_mask", ("agent_id", "observation")),
    "plural": ("action_masks", ("obs",)),
    "SMAC's": ("avail_actions", ("obs", "state")),
    "MARLlib's": ("available_actions", ("obs",)),
    "legal": ("legal_actions", ("obs",)),
    "short": ("mask", ("obs",)),
}


@pytest.mark.parametrize(("mask", "parts"), BESIDE.values(), ids=BESIDE)
def test_a_mask_beside_the_observation(mask: str, parts: tuple[str, ...]) -> None:
    copies = vectorize(type("Shut", (Closed,), {"mask": mask, "parts": parts}))
    copies.reset(0)
    assert copies.masked and copies.obs.shape == (1, 2, 3 * len(parts)), "the observation is the rest"
    assert copies.action_mask.tolist() == [[[True, True, False]] * 2]
    copies.step(np.full(copies.action.shape, 2.0))
    assert not copies.reward.any() and copies.obs[0, 0, :3].tolist() == [0.25, 0, 1]


@pytest.mark.parametrize(
    "info",
    [
        {"action_mask": [1, 1, 0]}, {"avail_actions": np.array([True, True, False])}, {"available_actions": (1, 1, 0)},
        {"valid_actions": [1.0, 1.0, 0.0]}, {"mask": [1, 1, 0]}, {"legal_actions": [0, 1], "action_mask": [1, 1, 0]},
    ],
    ids=repr,
)  # fmt: skip
def test_a_mask_in_the_infos(info: dict[str, Any]) -> None:
    copies = vectorize(type("Shut", (Lanes,), {"told": lambda self, agent: info}))
    copies.reset(0)
    assert copies.masked and copies.action_mask.tolist() == [[[True, True, False]] * 2]


def test_smacs_infos() -> None:
    copies = vectorize(Available)
    copies.reset(0)
    copies.step(np.full(copies.action.shape, 2.0))
    assert copies.masked and not copies.reward.any()


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (
            {"legal_actions": [0, 1]},
            "'legal_actions' of driver_0 = [0, 1]: 'action_mask' with a 0 or 1 for each of the 3",
        ),
        ({"invalid_action_mask": [0, 1]}, "'invalid_action_mask' of driver_0"),
        ({"action_mask": [1, 1]}, "action mask of driver_0: 2 entries, its choices are 3"),
        ({"avail_actions": [1, 1, 1, 0]}, "action mask 'avail_actions' of driver_0: 4 entries, its choices are 3"),
        ({"action_mask": [0.0, -np.inf, 0.0]}, "action mask of driver_0: [0.0, -inf, 0.0]: a 0 or 1 for each choice is expected"),
        ({"action_mask": "110"}, "action mask of driver_0: 1 entries, its choices are 3"),
        ({"action_mask": {"lane": 1}}, "action mask of driver_0: "),
    ],
)
def test_a_mask_that_cannot_be_read_is_named(info: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        vectorize(type("Shut", (Lanes,), {"told": lambda self, agent: info}))
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_a_mask_that_comes_late_is_named() -> None:
    late = type("Shut", (Lanes,), {"told": lambda self, agent: {"action_mask": [1, 1, 0]} if self.t else {}})
    copies = vectorize(late)
    copies.reset(0)
    with pytest.raises(UserError, match="action mask of driver_0: there was none after the first reset"):
        copies.step(np.zeros(copies.action.shape))


@pytest.mark.parametrize(
    ("space", "deed", "text"),
    [
        (
            {"obs": gym.Dict({"action_mask": gym.MultiBinary(3)})},
            None,
            "has 'obs.action_mask': an action mask stands in the outermost",
        ),
        ({"action_mask": gym.MultiBinary(3)}, None, "is its mask 'action_mask' alone: something to see is expected beside it"),
        ({"obs": gym.Discrete(2), "action_mask": gym.MultiBinary(3)}, gym.Box(0, 1, (2,)), "its actions are no choices"),
        ({"obs": gym.Discrete(2), "legal_moves": gym.MultiBinary(4)}, None, "has 'legal_moves', which is MultiBinary(4): a mask is"),
    ],
)
def test_a_space_whose_mask_cannot_be_used_is_refused(space: dict[str, Any], deed: Any, text: str) -> None:
    own: dict[str, Any] = {"sight": lambda self, agent: gym.Dict(space)}
    own |= {} if deed is None else {"deed": lambda self, agent: deed}
    with pytest.raises(UserError) as caught:
        vectorize(type("Shut", (Lanes,), own))
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_what_only_looks_like_a_mask_is_seen() -> None:
    """An image's mask, a mask of agents: parts of the observation like others."""
    own: dict[str, Any] = {"mask": "agent_mask", "parts": ("obs",)}
    copies = vectorize(type("Seen", (Closed,), own))
    assert not copies.masked and copies.obs.shape == (1, 2, 6)


def test_names() -> None:
    told = {
        SURE: ("action_mask", "actionMask", "action_masks", "avail_actions", "available_actions", "legal_actions_mask", "move_mask"),
        LISTED: ("legal_actions", "valid_moves", "possible_choices", "illegal_actions", "invalid_mask"),
        PERHAPS: ("mask", "masks", "legal_mask"),
        NONE: ("observation", "agent_mask", "attention_mask", "action", "availability", "last_action", 3, "reward/action"),
    }
    assert [(name, masks.kind(name)) for what, names in told.items() for name in names if masks.kind(name) != what] == []
    assert best(["mask", "legal_actions", "avail_actions", "action_mask"]) == "action_mask" and best(["obs"]) is None
    assert best(["mask", "legal_actions", "avail_actions"]) == "avail_actions"


def test_choices_by_number_are_no_mask() -> None:
    assert binary([1, 0], 2) and binary([1, 1, 0], 3) and binary(np.array([False, True]), 2)
    assert not binary([0, 1], 2) and not binary([0, 2], 2) and not binary([1], 2) and not binary([[1], [1, 0]], 2) and not binary("ab", 2)
