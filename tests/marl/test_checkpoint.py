"""Checkpoints: what comes back, what is refused, and that a disk that refuses costs nothing that was there."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from marl import checkpoint
from marl.errors import UserError

ROOT = Path(__file__).parents[2]
DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "float16", "float32", "float64"]

numbers = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats() | st.text(max_size=5)
arrays = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
contents = st.recursive(
    numbers | arrays,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    else:
        assert one == other or one != one


@given(st.dictionaries(st.text(max_size=6), contents, max_size=4))
def test_what_is_packed_comes_back(content: dict[str, Any]) -> None:
    assert_same(checkpoint.unpack(checkpoint.pack(content)), content)


@given(st.dictionaries(st.text(max_size=6).filter(lambda k: k != "version"), contents, max_size=4))
def test_what_is_saved_comes_back(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("c") / "last.pt"
    checkpoint.save(path, content)
    assert_same(checkpoint.load(path), {"version": checkpoint.VERSION, **content})
    assert os.listdir(path.parent) == ["last.pt"]


def test_other_orders_and_kinds_of_memory_come_back_as_values() -> None:
    """Strided, reversed and read-only arrays; NumPy's numbers; tuples as lists; a change afterwards reaches no checkpoint."""
    whole = np.arange(24, dtype=np.uint64).reshape(4, 6)
    still = whole.copy()
    still.setflags(write=False)
    given = {"t": whole.T, "odd": whole[::-2, ::3], "still": still, "n": np.float32(0.5), "pair": (1, np.int64(2)), "flag": np.True_}
    packed = checkpoint.pack(given)
    whole[:] = 0
    found = checkpoint.unpack(packed)
    expected = np.arange(24, dtype=np.uint64).reshape(4, 6)
    for name, value in (("t", expected.T), ("odd", expected[::-2, ::3]), ("still", expected)):
        assert found[name].dtype == np.uint64
        assert found[name].tolist() == value.tolist()
    assert (found["n"], found["pair"], found["flag"]) == (0.5, [1, 2], True)
    assert [type(found[n]) for n in ("n", "flag")] == [float, bool]


def test_generators_continue() -> None:
    def draws() -> list[Any]:
        return [random.random(), random.gauss(0, 1), np.random.standard_normal(3).tolist(), torch.randn(3).tolist()]

    random.gauss(0, 1)
    np.random.standard_normal(1)  # leaves the second of a pair of normals behind
    saved = checkpoint.unpack(checkpoint.pack(checkpoint.random_states()))
    first = draws()
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    checkpoint.set_random_states(saved)
    assert draws() == first


# ---- what is refused -----------------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        checkpoint.load(path)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"checkpoint {path}")
    return text


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"weights": torch.arange(100.0), "counters": [1, 2]})
    return path


def test_a_file_cut_anywhere_is_refused(written: Path) -> None:
    whole = written.read_bytes()
    for size in [0, 1, 2, 3, 10, *np.linspace(11, len(whole) - 1, 60).astype(int)]:
        written.write_bytes(whole[:size])
        assert "truncated or no checkpoint" in refused(written)


def test_other_files_are_refused(tmp_path: Path, written: Path) -> None:
    assert refused(tmp_path / "none.pt").endswith("no such file")
    assert refused(tmp_path).endswith("no such file")
    written.write_bytes(b"\x00" * 1_000)
    assert "no checkpoint" in refused(written)
    torch.save([1, 2], written)
    assert refused(written).endswith(f"has version None: expected {checkpoint.VERSION}")
    torch.save({"version": checkpoint.VERSION + 1}, written)
    assert refused(written).endswith(f"has version {checkpoint.VERSION + 1}: expected {checkpoint.VERSION}")


class Trap:
    """Runs code where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_checkpoint_with_code_is_refused_and_runs_none(how: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "last.pt", tmp_path / "ran"
    content = {"version": checkpoint.VERSION, "trap": Trap(mark)}
    torch.save(content, path) if how == "torch" else path.write_bytes(pickle.dumps(content))
    refused(path)
    assert not mark.exists()


# ---- a disk that refuses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["fsync", "replace", "write"])
def test_a_refused_write_keeps_the_previous_file(moment: str, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (os, "replace"), "write": (torch, "save")}[moment], full)
    with pytest.raises(UserError, match=r"last.pt could not be written \(.*No space left on device\): the previous one is kept"):
        checkpoint.save(written, {"weights": torch.zeros(100)})
    monkeypatch.undo()
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == ["last.pt"]


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be written"):
        checkpoint.save(tmp_path / "gone" / "last.pt", {})


FULL = """
import resource, sys, torch
from pathlib import Path
from marl import checkpoint
from marl.errors import UserError
path = Path(sys.argv[1])
checkpoint.save(path, {"weights": torch.zeros(100)})
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    checkpoint.save(path, {"weights": torch.zeros(1_000_000)})
except UserError as error:
    print(error)
print(checkpoint.load(path)["weights"].shape[0])
"""


@pytest.mark.parametrize("limit", [0, 100, 20_000, 1_000_000])
def test_a_disk_that_fills_up_while_writing_keeps_the_previous_file(limit: int, tmp_path: Path) -> None:
    """A process whose files may have so many bytes, as on a disk with so much room left."""
    path = tmp_path / "last.pt"
    done = subprocess.run([sys.executable, "-c", FULL, str(path), str(limit)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"checkpoint {path} could not be written (")
    assert lines[0].endswith("): the previous one is kept")
    assert lines[1] == "100"
    assert os.listdir(tmp_path) == ["last.pt"]
