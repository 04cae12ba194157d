"""Parameters of a game, each declared once: name, default, range, unit. Out of range is refused at construction."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Self, get_type_hints

import numpy as np
import numpy.typing as npt

from marl.content import digest
from marl.errors import UserError


@dataclass(frozen=True)
class Limits:
    """What a parameter may be. `options` of a choice, `low` and `high` of a number; a text has neither and rules never see it.

    Of a file of data, `file` is what it is of, `word` what means something built in, `built_in` the pattern of all such words, and `read`
    the parameter and its value with which the file is read (none: always).
    """

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    options: tuple[str, ...] = ()
    help: str = ""
    file: str = ""
    word: str = ""
    built_in: str = ""
    read: tuple[str, str] | None = None


def param(default: float, low: float, high: float, unit: str, help: str = "") -> Any:
    """A number in [low, high], in `unit`."""
    return field(default=default, metadata={"limits": Limits(low, high, unit, help=help)})


def choice(default: str, options: tuple[str, ...], help: str = "") -> Any:
    """One of `options`. Rules read its position in `options`."""
    return field(default=default, metadata={"limits": Limits(options=options, help=help)})


def text(default: str, help: str = "") -> Any:
    """A path or a name; rules do not see it."""
    return field(default=default, metadata={"limits": Limits(help=help)})


def data_file(default: str, of: str, help: str = "", built_in: str = "", read: tuple[str, str] | None = None) -> Any:
    """The path of a file `of` data ("a trace"), kept absolute, or a word that means what is built in: `default` or the pattern `built_in`.

    `read` names the parameter and its value with which the file is read: `make_params` refuses one that is given without.
    """
    limits = Limits(help=help, file=of, word=default, built_in=built_in or re.escape(default), read=read)
    return field(default=default, metadata={"limits": limits})


def located(path: str) -> str:
    """The path from the root on, `~` resolved: it means the same file from wherever it is read again."""
    full = os.path.abspath(os.path.expanduser(path))
    if ".." not in path.split(os.sep):
        return full
    folder, name = os.path.split(os.path.join(os.getcwd(), os.path.expanduser(path)))
    return os.path.join(os.path.realpath(folder), name) if name not in ("", ".", "..") else full


class derived(property):
    """A number computed from the parameters, which rules read as `p.name`."""


class Params:
    """Base of a game's frozen dataclass of parameters."""

    TABLES: ClassVar[tuple[str, ...]] = ()
    """Names of the arrays that `tables` makes."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, f.name, self._checked(f.name, hints[f.name], f.metadata["limits"], getattr(self, f.name)))
        self.validate()

    def _checked(self, name: str, kind: type, limits: Limits, value: Any) -> Any:
        where = f"{type(self).__name__}.{name} = {value!r}"
        if limits.options:
            if value not in limits.options:
                raise UserError(f"{where}: legal are {', '.join(limits.options)}")
            return value
        if limits.file:
            return _file(where, limits, value)
        if kind is str:
            if not isinstance(value, str):
                raise UserError(f"{where}: a text is expected")
            return value
        legal = "true or false" if kind is bool else f"[{limits.low:g}, {limits.high:g}]"
        unit = f" {limits.unit}" if limits.unit else ""
        number = isinstance(value, int | float | np.integer | np.floating | np.bool_) and not math.isnan(value)
        if not number or (kind is bool) != isinstance(value, bool | np.bool_) or (kind is int and value != value // 1):
            wanted = {int: "a whole number", float: "a number", bool: "a truth value"}[kind]
            raise UserError(f"{where}{unit}: {wanted} is expected, legal range is {legal}")
        if not (kind is bool or limits.low <= value <= limits.high):
            raise UserError(f"{where}{unit}: legal range is {legal}")
        return kind(value)

    @classmethod
    @cache
    def file_names(cls) -> tuple[str, ...]:
        """Names of the parameters that are files of data."""
        return tuple(f.name for f in fields(cls) if "limits" in f.metadata and f.metadata["limits"].file)  # type: ignore[arg-type]

    @classmethod
    def limits_of(cls, name: str) -> Limits:
        """What a parameter may be."""
        found: Limits = cls.__dataclass_fields__[name].metadata["limits"]  # type: ignore[attr-defined]
        return found

    @classmethod
    def is_file(cls, name: str, value: str) -> bool:
        """Whether the value of a parameter that is a file of data names one, and nothing built in."""
        return not re.fullmatch(cls.limits_of(name).built_in, value)

    def files(self) -> dict[str, str]:
        """Name -> path of the files of data that are given; what is built in is none."""
        given = {name: getattr(self, name) for name in self.file_names()}
        return {name: path for name, path in given.items() if self.is_file(name, path)}

    def unread(self) -> dict[str, tuple[str, str]]:
        """Names of the files that are given and not read -> the parameter and its value with which they would be."""
        found = {name: self.limits_of(name).read for name in self.files()}
        return {name: read for name, read in found.items() if read is not None and getattr(self, read[0]) != read[1]}

    def mark(self, name: str) -> str:
        """Digest of a file when these parameters first read it, which is when they were made; "" of what is built in. Raises UserError.

        Parameters are a value: they mean what the file held then, whatever it holds now. New ones mean what it holds now.
        """
        if not self.is_file(name, getattr(self, name)):
            return ""
        marks: dict[str, str] = self.__dict__.setdefault("_marks", {})
        if name not in marks:
            marks[name] = digest(getattr(self, name))
        return marks[name]

    def contents(self) -> tuple[str, ...]:
        """Marks of the files that are read: parameters are alike where these are alike as well. Raises UserError."""
        if not self.file_names():
            return ()
        unread = self.unread()
        return tuple(self.mark(name) for name in self.files() if name not in unread)

    def check_read(self) -> Self:
        """The same parameters. Raises UserError where a file is given that they do not read: what is built in does not replace it."""
        for name, (key, value) in self.unread().items():
            raise UserError(
                f"{type(self).__name__}.{name} = {getattr(self, name)!r} with {key} = {getattr(self, key)!r}: the file is not read, "
                f"legal is {key} = {value!r}, which reads it"
            )
        return self

    def validate(self) -> None:
        """Refuse combinations that no single range can refuse. Raises UserError."""

    def tables(self) -> Mapping[str, npt.NDArray[Any]]:
        """Read-only arrays that rules read as `p.name`: logs, quantiles, profiles."""
        return {}

    @classmethod
    def build(cls, given: Mapping[str, Any]) -> Self:
        """Parameters from names and values; an unknown name is refused with the legal ones."""
        names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        for name in given:
            if name not in names:
                raise UserError(f"{cls.__name__} has no parameter {name!r} (given: {given[name]!r}): legal are {', '.join(names)}")
        return cls(**given)

    @classmethod
    def number_names(cls) -> list[str]:
        """Names of what rules see as `p`, in order."""
        hints = get_type_hints(cls)
        own = [f.name for f in fields(cls) if hints[f.name] is not str or f.metadata["limits"].options]  # type: ignore[arg-type]
        return [*own, *(n for n in dir(cls) if isinstance(getattr(cls, n, None), derived)), *cls.TABLES]

    def numbers(self) -> dict[str, Any]:
        """What rules see as `p`: numbers, positions of choices, derived values, tables."""
        tables = self.tables()
        options = {f.name: f.metadata["limits"].options for f in fields(self)}  # type: ignore[arg-type]
        seen: dict[str, Any] = {}
        for name in self.number_names():
            if name in tables:
                seen[name] = np.array(tables[name], order="C")
                seen[name].flags.writeable = False
                continue
            value = getattr(self, name)
            seen[name] = options[name].index(value) if options.get(name) else int(value) if isinstance(value, bool) else value
        return seen


def _file(where: str, limits: Limits, value: Any) -> str:
    """A path from the root on, or the word for what is built in."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: the path of {limits.file} is expected, or {limits.word}")
    return value if re.fullmatch(limits.built_in, value) else located(value)
