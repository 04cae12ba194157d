"""The command's outer shell: what it imports, how it ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from experiments import cli
from tests.experiments.conftest import Marl, python

HEAVY = ("torch", "numba", "hydra", "omegaconf", "tianshou", "wandb", "matplotlib", "pettingzoo")


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys; from experiments.cli import main; code = main(['--help']); print(code, [m for m in {HEAVY} if m in sys.modules])"
    said = python(code)
    assert said.splitlines()[-1] == "0 []"
    assert all(name in said for name in cli.COMMANDS)


def test_configuration_and_list_need_no_torch() -> None:
    code = "import sys; from experiments.cli import main; main(['list']); main(['train', '--cfg', 'job']); print('torch' in sys.modules)"
    assert python(code).splitlines()[-1] == "False"


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"marl {command}" in capsys.readouterr().out


def test_version(marl: Marl) -> None:
    from marl import __version__

    assert marl("--version").out == f"market-marl {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "run/log.jsonl"), 2, "marl: error: [Errno 28] No space left on device: 'run/log.jsonl'"),
        (BrokenPipeError(), 0, ""),
        (MemoryError("Unable to allocate 8. GiB for an array"), 2, "too little memory is left: lower n_envs, or raise its limit (Unable"),
        (MemoryError(), 2, "(MemoryError)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), 2, "too little memory is left"),
        (ImportError("libtorch.so: failed to map segment from shared object"), 2, "too little memory is left"),
        (OSError(12, "Cannot allocate memory"), 2, "too little memory is left"),
        (OSError(24, "Too many open files", "x.so"), 2, "too few files may be open: raise ulimit -n"),
        (ImportError("x.so: cannot open shared object file: Too many open files"), 2, "too few files may be open"),
    ],
)
def test_how_it_ends(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Sequence[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "run", fails)
    monkeypatch.setattr(cli, "silence", lambda: None)
    assert cli.main(["train"]) == code
    assert words in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Sequence[str]) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(cli, "run", fails)
    with pytest.raises(OSError, match="Input/output"):
        cli.main(["train"])
