"""Tables in text files, as the world writes them: a broken one is refused by file, line and column, in one line.

Read are UTF-8 with or without a byte-order mark, and UTF-16 and UTF-32 with one; lines that end in LF, CRLF or CR; cells parted by
commas, tabs, semicolons or bars, quoted or not, with blanks around them; headers in any case; files packed by gzip, whatever their name.
Lines without anything in them are passed over. A number is written in ASCII digits with a decimal point and nothing else (no `1_000`,
`1,000`, `$1`, nan or inf); a day as 2011-09-30, of a time with or without a zone the day as it is written there.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from itertools import chain
from typing import Any, BinaryIO

from marl.content import MOST_BYTES, opened, unreadable, warn
from marl.errors import UserError

MOST_LINES, MOST_LINE, MOST_SPAN = 10_000_000, 1 << 20, 100
"""Of a table: lines, characters of a line, and lines of one quoted cell."""
MOST_SHOWN = 60
"""Characters of a cell in a refusal."""
DELIMITERS = ",\t;|"
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
FOREIGN = {
    b"PK\x03\x04": "it is a zip archive or an Excel workbook", b"\xd0\xcf\x11\xe0": "it is an Excel workbook", PARQUET: "it is Parquet",
    b"BZh": "it is packed by bzip2", b"\xfd7zXZ": "it is packed by xz", b"\x28\xb5\x2f\xfd": "it is packed by zstd",
    b"%PDF": "it is a PDF", b"SQLite": "it is a database",
}  # fmt: skip
"""First bytes of what is no text."""
MARKS = {b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe\x00\x00": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""Byte-order marks, the longer ones first."""
WANTED = "a text table, plain or packed by gzip,"
PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
STRANGE = re.compile(r"[^0-9eE.+\-]")
"""What no number has in it: `float` takes `1_000`, `nan` and the digits of every script."""
TIMED = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?")
EARLIEST, LATEST = date(1900, 1, 1), date(2100, 1, 1)


def first_bytes(path: str) -> bytes:
    """The first four bytes of a file. Raises UserError where it cannot be read."""
    with opened(path) as raw:
        return raw.peek(4)[:4]  # type: ignore[attr-defined]


def _unpacked(path: str, raw: BinaryIO) -> Any:
    """The bytes of the text. What a file is packed by stands in its first bytes, its name says nothing of it."""
    head = raw.peek(6)[:6]  # type: ignore[attr-defined]
    for mark, said in FOREIGN.items():
        if head.startswith(mark):
            raise unreadable(path, said, WANTED)
    if head.startswith(GZIP):
        return gzip.GzipFile(fileobj=raw)
    if path.endswith(".gz") and head:
        raise unreadable(path, "it is not packed by gzip, as its name says", WANTED)
    return raw


def _text(path: str) -> Iterator[str]:
    """Lines of a file's text, with an LF each. Raises UserError for what is no text or too much of it."""
    with opened(path) as raw:
        try:
            stream = _unpacked(path, raw)
            head = stream.peek(4)[:4]
            kind = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8-sig")
            errors = "surrogateescape" if kind == "utf-8-sig" else "strict"  # names in other codes do no harm to the numbers
            text = io.TextIOWrapper(stream, encoding=kind, errors=errors, newline=None)
            lines = characters = 0
            while line := text.readline(MOST_LINE + 1):
                lines, characters = lines + 1, characters + len(line)
                if len(line) > MOST_LINE:
                    raise unreadable(path, f"line {lines} has more than {MOST_LINE:,} characters", WANTED)
                if "\0" in line:
                    raise unreadable(path, f"line {lines} has a NUL: it is no text, or UTF-16 without a byte-order mark", WANTED)
                if lines > MOST_LINES or characters > MOST_BYTES:
                    raise unreadable(
                        path, f"it has more than {MOST_LINES:,} lines or {MOST_BYTES:,} characters", f"{WANTED} of at most so many"
                    )
                yield line
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise unreadable(path, error, WANTED) from error


def rows(path: str, known: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, cells without blanks around them) of each line that holds something. Raises UserError.

    The first line says what parts the cells: what gives most names out of `known`, and of equals most cells.
    """
    text, before, first = _text(path), 0, ""
    for first in text:
        if first.strip():
            break
        before += 1
    else:
        return
    declared = re.fullmatch(f"sep=([{re.escape(DELIMITERS)}])\n?", first)  # as Excel writes and reads it
    delimiter = declared[1] if declared else _delimiter(first, known)
    source, before = (text, before + 1) if declared else (chain([first], text), before)
    reader = csv.reader(source, delimiter=delimiter, skipinitialspace=True)
    last = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise unreadable(path, f"line {before + reader.line_num}: {error}", WANTED) from error
        if reader.line_num - last > MOST_SPAN:
            raise unreadable(path, f"line {before + last + 1}: a quoted cell does not end within {MOST_SPAN} lines", WANTED)
        if cells is None:
            return
        last = reader.line_num
        cells = [cell.strip() for cell in cells]
        if any(cells):
            yield before + last, cells


def _delimiter(line: str, known: Collection[str]) -> str:
    def worth(delimiter: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:  # a cell that is too long: refused with its line when it is read
            return 0, 0
        return sum(plain_name(cell) in known for cell in cells), len(cells)

    return max(DELIMITERS, key=worth)


def plain_name(cell: str) -> str:
    """A header's name in small letters and underscores: `Adj. Close` is adj_close, `<CLOSE>` and `4. close` are close."""
    words = re.sub(r"[\W_]+", "_", cell.lower()).strip("_")
    return re.sub(r"^[0-9]+_(?=.)", "", words)


Columns = Mapping[str, Sequence[str]]
"""Columns that are read -> other names of theirs."""


class Header:
    """The first line of a table: where its columns stand, by plain name."""

    def __init__(self, path: str, line: int, cells: Sequence[str]) -> None:
        self.path, self.line, self.cells = path, line, list(cells)
        self.names = [plain_name(cell) for cell in cells]
        self.width = max((i + 1 for i, cell in enumerate(self.cells) if cell), default=0)

    def place(self, column: str, aliases: Sequence[str] = ()) -> int | None:
        """Where the column stands, under its name or else another; None where it does not. Raises UserError where it is there twice."""
        named = next((name for name in (column, *aliases) if name in self.names), column)
        found = [i for i, name in enumerate(self.names) if name == named]
        if len(found) > 1:
            said = " and ".join(shown(self.cells[i]) for i in found[:2])
            raise UserError(f"{self.path}, line {self.line}: column {column!r} is there {len(found)} times, as {said}; one is expected")
        return found[0] if found else None

    def places(self, columns: Columns) -> list[int]:
        """Where the columns stand, in their order. Raises UserError for one that is missing."""
        found = [self.place(column, aliases) for column, aliases in columns.items()]
        if None in found:
            raise self.lacks(list(columns)[found.index(None)], columns)
        return [place for place in found if place is not None]

    def lacks(self, column: str, columns: Collection[str]) -> UserError:
        """The refusal of a table without a column."""
        return UserError(f"{self.path}, line {self.line}: column {column!r} is missing, the header must have {', '.join(columns)}")

    def check(self, line: int, cells: Sequence[str]) -> None:
        """Raise UserError for a line with another number of cells. Empty ones at the end do not count where the header has no names."""
        if len(cells) != len(self.cells) and (len(cells) < self.width or any(cells[self.width :])):
            raise UserError(f"{self.path}, line {line}: {len(cells)} cells, {len(self.cells)} are expected as in line {self.line}")


def table(path: str, columns: Columns) -> tuple[Header, Iterator[tuple[int, list[str]]]]:
    """The header, and (line number, cells) of the lines below it, each as wide as the header. Raises UserError."""
    found = rows(path, {*columns, *chain(*columns.values())})
    header = Header(path, *next(found, (1, [])))

    def body() -> Iterator[tuple[int, list[str]]]:
        for line, cells in found:
            header.check(line, cells)
            yield line, cells

    return header, body()


def shown(cell: str) -> str:
    """A cell in quotes, cut where it is long."""
    return repr(cell if len(cell) <= MOST_SHOWN else f"{cell[:MOST_SHOWN]}...")


def value_of(cell: str) -> float:
    """The number that a cell writes, nan where it writes none."""
    return float(cell) if PLAIN.fullmatch(cell) else math.nan


def number(path: str, line: int, column: str, cell: str, low: float, high: float) -> float:
    """The number in a cell. Raises UserError where it is none or outside [low, high]."""
    value = value_of(cell)
    if not low <= value <= high:
        raise UserError(f"{path}, line {line}, column {column!r}: {shown(cell)}, a number in [{low:g}, {high:g}] is expected")
    return value


def whole(path: str, line: int, column: str, cell: str, low: float, high: float, of: str) -> int:
    """The whole number in a cell. Raises UserError where it is none or outside [low, high]."""
    value = number(path, line, column, cell, low, high)
    if value != int(value):
        raise UserError(f"{path}, line {line}, column {column!r}: {value:g}, a whole number{of} is expected")
    return int(value)


def day_in(path: str, line: int, column: str, cell: str, wanted: str) -> date:
    """The day in a cell; of a time it is the day that is written there, in its own zone. Raises UserError."""
    timed = TIMED.fullmatch(cell)
    try:
        return date.fromisoformat(timed[1] if timed else cell if cell.isascii() else "")
    except ValueError as error:
        hint = " (seconds, milliseconds or nanoseconds since 1970?)" if re.fullmatch(r"[0-9]{9,19}(\.[0-9]*)?", cell) else ""
        raise UserError(f"{path}, line {line}, column {column!r}: {shown(cell)}{hint}, {wanted} is expected") from error


def name_in(path: str, line: int, column: str, cell: str) -> str:
    """The name in a cell. Raises UserError where there is none, or one that is not written in the file's code."""
    if not cell or any("\udc80" <= c <= "\udcff" for c in cell):
        raise UserError(f"{path}, line {line}, column {column!r}: {shown(cell)}, a name in UTF-8 is expected")
    return cell


def check_days(path: str, first: date, last: date) -> None:
    """Warn of days that look like a slip: of the first weeks of 1970, of which a clock in another unit makes every day, or far away."""
    if date(1970, 1, 1) <= first and last <= date(1970, 2, 28):
        warn(f"{path}, column 'date': all days lie from {first} to {last}: seconds that were read as milliseconds?")
    elif first < EARLIEST or last >= LATEST:
        warn(f"{path}, column 'date': days lie from {first} to {last}: is a year mistyped?")
