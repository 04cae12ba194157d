"""What a command's words may be: texts that Hydra's grammar ends, values of no kind, words that would be ignored, folders made unasked."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from experiments.compose import compose, in_folder
from tests.experiments.conftest import TINY, Marl


@pytest.mark.parametrize("name", ["a=b", "a(b)", "a#b", "a&b", "a;b", "a~b", "über", "a'b", "a b=c", "a^b", "1<2"])
def test_a_character_that_ends_a_value_is_named_with_the_remedy(name: str, marl: Marl, tmp_path: Path) -> None:
    """The word that the refusal proposes makes the folder that was meant."""
    refusal = marl("train", *TINY, f"run_dir={name}").refusal
    culprit = next(c for c in name if c in "=()#&;~ü'^<")
    assert f"{culprit!r} stands in no value without quotes, write " in refusal
    (word,) = shlex.split(refusal.partition(" write ")[2])
    assert compose(["env=harvest", word]).config["run_dir"] == name


@pytest.mark.parametrize("name", ["a,b", "choice(a,b)", "range(3)"])
def test_a_folder_that_reads_like_a_sweep_is_told_how_it_is_written(name: str, marl: Marl) -> None:
    refusal = marl("train", *TINY, f"run_dir={name}").refusal
    assert "several values make a sweep (-m)" in refusal
    (word,) = shlex.split(refusal.rpartition("brackets ")[2])
    assert compose(["env=harvest", word]).config["run_dir"] == name


@pytest.mark.parametrize("name", ["true", "False", "007", "1e6", "1.50", "0x10", "nan", "runs", "a b", "a/b", "a:b", "a@b%c"])
def test_a_folder_is_called_letter_by_letter(name: str) -> None:
    """Also where the letters would be a number or a truth value."""
    assert compose(["env=harvest", f"run_dir={name}"]).config["run_dir"] == name


@pytest.mark.parametrize("name", ["a'b", "a=b, c", "(x)", "true", "a b"])
def test_a_folder_that_commands_give_a_run_is_the_one_that_is_meant(name: str, tmp_path: Path) -> None:
    """Runs of a sweep, members of an ensemble, known answers."""
    assert compose(["env=harvest", in_folder(tmp_path / name)]).config["run_dir"] == str(tmp_path / name)


def test_no_folder_is_still_none(marl: Marl) -> None:
    assert "run_dir" in marl("train", *TINY, "run_dir=").refusal


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("algorithm.hidden=[[16]]", ["algorithm.hidden = [[16]]: a list like [64, 64] is expected"]),
        ("algorithm.hidden=[{a: 1}]", ["algorithm.hidden = [{'a': 1}]: a list like"]),
        ("tracker.tags=[[a]]", ["tracker.tags = [['a']]: legal is a list like [a, b]"]),
        ("ensemble.members=[[a]]", ["ensemble.members = [['a']]: legal is a list like [a, b]"]),
        ("algorithm.hidden=[16", ["override 'algorithm.hidden=[16'"]),
        ("algorithm.hidden={a: 1}", ["algorithm.hidden"]),
        ("modules=[[a]]", ["modules"]),
        ("env.growth=[1]", ["env.growth"]),
        ("env.growth={a: 1}", ["env.growth"]),
        ("seed=[1]", ["seed"]),
    ],
)
def test_a_value_of_another_kind_is_a_line(given: str, words: list[str], marl: Marl) -> None:
    refusal = marl("train", *TINY, given).refusal
    assert [w for w in words if w not in refusal] == []


@pytest.mark.parametrize("command", ["bidders", "traders", "allocators"])
@pytest.mark.parametrize("text", ["preset=[", "preset={a", "preset=*x", "preset=@", "preset=" + 5_000 * "["])
def test_a_parameter_that_is_no_yaml_is_a_line(command: str, text: str, marl: Marl) -> None:
    assert f"marl {command} preset=" in marl(command, text).refusal


@pytest.mark.parametrize("command", ["bidders", "traders", "allocators", "replenishment"])
def test_a_run_that_is_not_there_is_refused_before_anything_is_computed(
    command: str, marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import envs
    from marl import vector

    def computed(*_: object, **__: object) -> None:
        raise AssertionError("computed before it was refused")

    monkeypatch.setattr(envs, "make", computed)
    monkeypatch.setattr(vector, "VectorGame", computed)
    assert "--run nowhere: no run there" in marl(command, "--run", "nowhere").refusal


@pytest.mark.parametrize(
    "words",
    [["--version", "now"], ["reproduce", "--list", "x"], ["reproduce", "--report", "x"], ["allocators", "--report", "a=b"]],
    ids=" ".join,
)
def test_a_word_that_would_be_ignored_is_refused(words: list[str], marl: Marl) -> None:
    assert "nothing beside --" in marl(*words).refusal


def test_a_file_is_written_into_folders_that_are_there(marl: Marl, tmp_path: Path) -> None:
    """One new folder in one that is there is made, and said; a path that is a slip of the hand makes nothing."""
    far = tmp_path / "no" / "where" / "x.csv"
    for path in (far, Path("/nowhere/x.csv")):
        assert f"there is no folder {path.parent}" in marl("generate", "allocation_log", "-o", str(path), "--rows", "10").refusal
        assert not path.parent.exists()
    said = marl("generate", "allocation_log", "-o", str(tmp_path / "new" / "x.csv"), "--rows", "10")
    assert said.code == 0 and f"made the folder {tmp_path / 'new'}" in said.err


def test_what_is_written_is_what_was_given() -> None:
    """A path with every odd character is read back from YAML."""
    odd = "a, b=(c) [d] {e} 'f' #g & *h !i %j @k `l` ü 中"
    escaped = odd.replace("'", "\\'")
    config = compose(["env=harvest", f"run_dir='{escaped}'"]).config
    assert yaml.safe_load(yaml.safe_dump(dict(config)))["run_dir"] == odd
