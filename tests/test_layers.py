"""The layers: who may import whom, and what a light import must not bring."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("marl", "envs", "algorithms", "curricula", "experiments")
BELOW = {
    "marl": set(),
    "envs": {"marl"},
    "algorithms": {"marl"},
    "curricula": {"marl"},
    "experiments": {"marl", "envs", "algorithms", "curricula"},
}
ABOVE = {"hydra", "omegaconf", "hydra_plugins", "wandb", "ray", "optuna", "tensorboard", "duckdb", "google"}
"""Libraries of which only the experiments know."""

HEAVY = ("torch", "tianshou", "pettingzoo", "gymnasium", "hydra", "wandb", "matplotlib", "PIL", "pandas")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imports(text: str, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            head = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, head
            yield from ((node.lineno, f"{head}.{alias.name}") for alias in node.names)


def faults(room: str, text: str, package: str) -> list[str]:
    found = []
    for line, name in imports(text, package):
        top = name.split(".")[0]
        if top in ROOMS and top != room and top not in BELOW[room]:
            found.append(f"line {line}: {room} imports {name}")
        if top in ABOVE and room != "experiments":
            found.append(f"line {line}: {room} imports {name}, which only experiments may")
        if top == "torch" and "torch.utils.tensorboard" in name and room != "experiments":
            found.append(f"line {line}: {room} imports {name}, which only experiments may")
        if top == "tests":
            found.append(f"line {line}: {room} imports {name}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_rooms_below(path: Path) -> None:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    assert not faults(path.relative_to(ROOT).parts[0], path.read_text(), package)


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("marl", "import envs.auction"),
        ("marl", "def f():\n    from algorithms import ALGORITHMS"),
        ("marl", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from experiments.train import train"),
        ("envs", "from curricula import stage"),
        ("curricula", "import algorithms"),
        ("algorithms", "from envs.auction import AUCTION"),
        ("algorithms", "import wandb"),
        ("marl", "from omegaconf import OmegaConf"),
        ("envs", "from tests.commons import COMMONS"),
        ("marl", "from torch.utils.tensorboard import SummaryWriter"),
    ],
)
def test_the_walk_sees_a_wrong_import(room: str, text: str) -> None:
    assert faults(room, text, f"{room}.part")


def test_the_walk_lets_right_imports_pass() -> None:
    assert not faults(
        "envs",
        "import math\nfrom marl.game import Game\nfrom . import data\nfrom ..algorithms import x\nfrom envs.auction import rules",
        "envs.auction",
    )
    assert not faults("experiments", "import hydra, wandb, envs, algorithms, curricula, marl", "experiments")


@pytest.mark.parametrize("modules", ["marl, envs", "marl.vector, marl.driver", "algorithms, curricula"])
def test_a_light_import_brings_nothing_heavy(modules: str) -> None:
    code = f"import sys, {modules}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
