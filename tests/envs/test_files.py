"""Every reader of a text table meets the files of the world: what it reads means the same, what it refuses is said in one line."""

from __future__ import annotations

import bz2
import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import envs
from envs import files
from envs.auction_log.params import AuctionLogParams
from marl import UserError, content
from tests.envs.tables import TABLES, Table, parameters, plain, written


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> Table:
    return TABLES[request.param]


def refused(read: Callable[[str], Any], path: str) -> str:
    """The refusal of a file, which is one line and names it."""
    with pytest.raises(UserError) as caught:
        read(path)
    said = str(caught.value)
    assert path in said and "\n" not in said and len(said) < 600
    return said


def quoted(text: str) -> str:
    return "".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in text.splitlines())


def body(text: str, change: Callable[[str], str]) -> str:
    """The table with another header."""
    header, rest = text.split("\n", 1)
    return change(header) + "\n" + rest


SERVED: dict[str, Callable[[str], str | bytes]] = {
    "a byte-order mark": lambda t: b"\xef\xbb\xbf" + t.encode(),
    "UTF-16": lambda t: t.encode("utf-16"),
    "UTF-16, the other way round": lambda t: b"\xfe\xff" + t.encode("utf-16-be"),
    "UTF-32": lambda t: t.encode("utf-32"),
    "CRLF": lambda t: t.replace("\n", "\r\n"),
    "CR": lambda t: t.replace("\n", "\r"),
    "no end of the last line": lambda t: t.rstrip("\n"),
    "quotes": quoted,
    "quotes, a mark and CRLF": lambda t: b"\xef\xbb\xbf" + quoted(t).replace("\n", "\r\n").encode(),
    "blanks around cells": lambda t: t.replace(",", " , ").replace("\n", " \n"),
    "a header in capitals": lambda t: body(t, str.upper),
    "blanks behind headers": lambda t: body(t, lambda h: h.replace(",", "  , ") + "  "),
    "semicolons": lambda t: t.replace(",", ";"),
    "tabs": lambda t: t.replace(",", "\t"),
    "bars": lambda t: t.replace(",", "|"),
    "Excel's first line": lambda t: "sep=;\n" + t.replace(",", ";"),
    "blank lines at the end": lambda t: t + "\n\n  \n",
    "lines of commas at the end": lambda t: t + "," * t.split("\n")[0].count(",") + "\n",
    "blank lines within": lambda t: t.replace("\n", "\n\n"),
    "a column of names in another code": lambda t: b"".join(f"{x},".encode() + b"caf\xe9\n" for x in t.splitlines()),
    "a column of notes with line breaks": lambda t: "".join(f'{x},"one, \n""two"""\n' for x in t.splitlines()),
    "commas behind the header and some lines": lambda t: t.replace("\n", ",,\n", 9),
    "commas behind lines": lambda t: body(t + "\n", lambda h: h).replace("\n", ",\n").replace(",\n", "\n", 1),
    "packed by gzip": lambda t: gzip.compress(t.encode()),
    "packed in two members": lambda t: gzip.compress(t[:40].encode()) + gzip.compress(t[40:].encode()),
    "packed UTF-16": lambda t: gzip.compress(t.encode("utf-16")),
}


@pytest.mark.parametrize("kind", SERVED)
def test_what_text_files_come_with_is_read(table: Table, kind: str, tmp_path: Path) -> None:
    asked = plain(table.read(written(tmp_path, table.text, "KO.csv")))
    assert plain(table.read(written(tmp_path, SERVED[kind](table.text), "other.csv"))) == asked


def test_packing_is_seen_whatever_the_name(table: Table, tmp_path: Path) -> None:
    packed = gzip.compress(table.text.encode())
    assert plain(table.read(written(tmp_path, packed, "table.csv"))) == plain(table.read(written(tmp_path, packed, "table.csv.gz")))
    assert "cannot be read (it is not packed by gzip, as its name says)" in refused(table.read, written(tmp_path, table.text, "text.gz"))


NUMBERS = [
    "1_000",
    '"1,000"',
    "٣",
    "\uff13",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e400",
    "",
    "0x1f",
    '"1.000,5"',
    "$3",
    "3%",
    "1 000",
    "true",
    "--3",
]


@pytest.mark.parametrize("cell", NUMBERS)
def test_what_is_no_plain_number_is_refused_by_line_and_column(table: Table, cell: str, tmp_path: Path) -> None:
    header, first, rest = table.text.split("\n", 2)
    cells = first.split(",")
    cells[header.split(",").index(table.column)] = cell
    said = refused(table.read, written(tmp_path, "\n".join([header, ",".join(cells), rest])))
    assert f"line 2, column '{table.column}'" in said and repr(cell.strip('"')) in said


def test_a_cell_beyond_measure_is_refused_quickly_and_shortly(table: Table, tmp_path: Path) -> None:
    header, first, rest = table.text.split("\n", 2)
    cells = first.split(",")
    cells[header.split(",").index(table.column)] = "1" * 130_000 + "x"
    begun = time.process_time()
    refused(table.read, written(tmp_path, "\n".join([header, ",".join(cells), rest])))
    assert time.process_time() - begun < 2


def test_a_decimal_comma_is_refused(table: Table, tmp_path: Path) -> None:
    header, first, rest = table.text.replace(",", ";").split("\n", 2)
    cells = first.split(";")
    cells[header.split(";").index(table.column)] = "0,5"
    assert "'0,5'" in refused(table.read, written(tmp_path, "\n".join([header, ";".join(cells), rest])))


def test_a_column_that_is_there_twice_is_refused(table: Table, tmp_path: Path) -> None:
    lines = table.text.splitlines()
    text = "".join(f"{line},{table.column.title() if i == 0 else 1}\n" for i, line in enumerate(lines))
    said = refused(table.read, written(tmp_path, text))
    assert f"column '{table.column}' is there 2 times, as '{table.column}' and '{table.column.title()}'" in said


REFUSED: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "UTF-16 without a mark": (lambda t: t.encode("utf-16-le"), "UTF-16 without a byte-order mark"),
    "half of a UTF-16": (lambda t: t.encode("utf-16")[:-1], "cannot be read"),
    "a workbook": (lambda t: b"PK\x03\x04" + t.encode(), "a zip archive or an Excel workbook"),
    "bzip2": (lambda t: bz2.compress(t.encode()), "packed by bzip2"),
    "a cut archive": (lambda t: gzip.compress(t.encode())[:-9], "cannot be read"),
    "a damaged archive": (lambda t: gzip.compress(t.encode())[:-8] + b"12345678", "cannot be read"),
    "a page of the web": (lambda t: "<!DOCTYPE html>\n<html>\n" + t, "line 1"),
    "a file of JSON in one line": (lambda t: '[{"close": "' + "1 " * 100_000 + '"}]', "line 1"),
    "another sign between cells": (lambda t: 'sep="\n' + t, "line 1"),
    "packed twice": (lambda t: gzip.compress(gzip.compress(t.encode())), "line 1"),
    "a NUL": (lambda t: t.replace("\n", "\n\0", 1), "line 2 has a NUL"),
    "a quote that does not end": (lambda t: t.replace("\n", '\n"', 1) + t * 4, "does not end within 100 lines"),
    "a cell too many": (lambda t: t.replace("\n", "\n1,", 2).replace("\n1,", "\n", 1), "line 3"),
    "a line too long": (lambda t: t + "1" * (files.MOST_LINE + 1), "more than 1,048,576 characters"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_table_is_refused_in_a_line(table: Table, kind: str, tmp_path: Path) -> None:
    change, said = REFUSED[kind]
    assert said in refused(table.read, written(tmp_path, change(table.text)))


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null", "/dev/stdin", "pipe", "", "nul\0l"])
def test_what_is_no_regular_file_is_refused_at_once(table: Table, place: str, tmp_path: Path) -> None:
    if place == "pipe":
        os.mkfifo(tmp_path / place)
    begun = time.perf_counter()
    with pytest.raises(UserError, match="cannot be read"):
        table.read(place if place.startswith("/") or "\0" in place else str(tmp_path / place))
    assert time.perf_counter() - begun < 5


def test_a_file_beyond_the_bounds_is_refused_with_them(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holes = tmp_path / "holes.csv"
    with holes.open("wb") as file:
        file.truncate(content.MOST_BYTES + 1)
    assert "a regular file of at most 1,073,741,824 is expected" in refused(table.read, str(holes))
    bomb = written(tmp_path, gzip.compress(b"\0" * 50_000_000), "bomb.csv.gz")
    assert "line 1 has more than 1,048,576 characters" in refused(table.read, bomb)
    monkeypatch.setattr(files, "MOST_LINES", 12)
    assert "it has more than 12 lines" in refused(table.read, written(tmp_path, table.text, "long.csv"))
    monkeypatch.setattr(files, "MOST_LINES", 10_000)
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    assert "or 100 characters" in refused(table.read, written(tmp_path, gzip.compress(table.text.encode()), "wide.csv"))


def test_a_game_reads_the_file_that_it_is_named(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a relative path, one with `~`, or a Path; and keeps it absolute, so that it means the same file from anywhere."""
    path = written(tmp_path, table.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("table.csv", "./table.csv", "~/table.csv", f"../{tmp_path.name}/table.csv", Path("table.csv")):
        p = envs.game(table.game).make_params(**parameters(table, given))  # type: ignore[arg-type]
        assert getattr(p, table.file) == path and p.files()[table.file] == path
        assert p.contents() == (content.digest(path),) * len(p.files())
    with pytest.raises(UserError, match=r"nowhere\.csv: cannot be read"):
        envs.game(table.game).make_params(**parameters(table, "nowhere.csv"))
    with pytest.raises(UserError, match=f"{table.file} = ' ': the path of "):
        envs.game(table.game).make_params(**parameters(table, " "))


def test_what_a_file_held_is_what_its_parameters_mean(table: Table, tmp_path: Path) -> None:
    """A file that is another, or gone, changes nothing in a game that is made; a game that is made then is of the new file."""
    path = written(tmp_path, table.text)
    p = envs.game(table.game).make_params(**parameters(table, path))
    before = {key: value.tolist() for key, value in p.tables().items()}
    Path(path).unlink()
    assert {key: value.tolist() for key, value in p.tables().items()} == before
    with pytest.raises(UserError, match="cannot be read"):
        envs.game(table.game).make_params(**parameters(table, path))


@pytest.mark.parametrize(
    ("game", "name", "said"),
    [
        ("trading", "bars", r"TradingParams.bars = '.*my.csv' with source = 'synthetic': the file is not read, legal is source = 'bars'"),
        (
            "cluster",
            "trace",
            r"ClusterParams.trace = '.*my.csv' with arrivals = 'poisson': the file is not read, legal is arrivals = 'trace'",
        ),
        (
            "supply_chain",
            "trace",
            r"SupplyChainParams.trace = '.*my.csv' with demand = 'poisson': the file is not read, legal is demand = 'tr",
        ),
    ],
)
def test_a_file_that_nothing_reads_is_refused_with_what_would(game: str, name: str, said: str, tmp_path: Path) -> None:
    for path in (str(tmp_path / "my.csv"), written(tmp_path, "x", "my.csv")):
        with pytest.raises(UserError, match=said):
            envs.make(game, 1, **{name: path})
    envs.make(game, 1, **{name: "synthetic"})


@pytest.mark.parametrize("name", ["synthetic.csv", "synthetic/log.csv", "synthetic_log", "Synthetic"])
def test_a_file_whose_name_begins_like_the_built_in_one_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    written(tmp_path, TABLES["log"].text, name)
    assert len(AuctionLogParams(train=name, test=name, horizon=2).log("train").price) == 60
    with pytest.raises(UserError, match="two files are expected, or none"):
        AuctionLogParams(train=name, horizon=2)
