"""The wheel: everything that the tree has beside its modules is in it, and it works from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("marl", "envs", "algorithms", "curricula", "experiments")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tree and unpacked: the checkout stays clean."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", *ROOMS, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"], cwd=ROOT, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("no checkout: the files of the tree are not known")
    for name in tracked.stdout.splitlines():
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    zipfile.ZipFile(built).extractall(out / "unpacked")
    return out / "unpacked"


def test_it_holds_every_file_of_the_tree(wheel: Path) -> None:
    tree = {str(p.relative_to(ROOT)) for room in ROOMS for p in (ROOT / room).rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    held = {str(p.relative_to(wheel)) for p in wheel.rglob("*") if p.is_file()}
    assert tree - held == set()


def test_it_lists_and_reports_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": str(wheel)}
    code = (
        "import experiments, sys; assert experiments.__file__.startswith(sys.argv[1]), experiments.__file__; "
        "from experiments.cli import main; sys.exit(main(sys.argv[2:]))"
    )
    for arguments, words in (
        (["reproduce", "--list"], "first-price"),
        (["train", "experiment=first_price", "--cfg", "job"], "preset: first_price_two"),
    ):
        said = subprocess.run([sys.executable, "-c", code, str(wheel), *arguments], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert said.returncode == 0 and words in said.stdout, said.stderr
