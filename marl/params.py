"""Parameters of a game, each declared once: name, default, range, unit. Out of range is refused at construction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self, get_type_hints

import numpy as np
import numpy.typing as npt

from marl.errors import UserError


@dataclass(frozen=True)
class Limits:
    """What a parameter may be. `options` of a choice, `low` and `high` of a number; a text has neither and rules never see it."""

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    options: tuple[str, ...] = ()
    help: str = ""


def param(default: float, low: float, high: float, unit: str, help: str = "") -> Any:
    """A number in [low, high], in `unit`."""
    return field(default=default, metadata={"limits": Limits(low, high, unit, help=help)})


def choice(default: str, options: tuple[str, ...], help: str = "") -> Any:
    """One of `options`. Rules read its position in `options`."""
    return field(default=default, metadata={"limits": Limits(options=options, help=help)})


def text(default: str, help: str = "") -> Any:
    """A path or a name; rules do not see it."""
    return field(default=default, metadata={"limits": Limits(help=help)})


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
