"""Algorithms by name. Adding one is one file here and one line in `ALGORITHMS`; nothing heavy is imported until one is asked for.

The class named in `ALGORITHMS` is made as `Class(settings, part, updates)`: its settings (a dataclass, `Class.Settings`), the
part of the agents it learns for (`marl.team.Part`), and how many updates the run will make. It is a Tianshou Algorithm with
`record(rows, out)`: further numbers a row that its updates read, as named in `FIELDS`.
"""

from __future__ import annotations

import importlib
from typing import Any

from algorithms import settings
from marl.errors import UserError

ALGORITHMS: dict[str, str] = {
    "ippo": "algorithms.ippo:IPPO",
    "isac": "algorithms.isac:ISAC",
}

SETTINGS: dict[str, type] = {
    "ippo": settings.IPPO,
    "isac": settings.ISAC,
}
"""Settings of the algorithms here, readable without torch; an algorithm that lives elsewhere has them as `Class.Settings`."""


def load(name: str) -> Any:
    """The algorithm's class."""
    if name not in ALGORITHMS:
        raise UserError(f"algorithm = {name!r}: no such algorithm, legal are {', '.join(ALGORITHMS)}")
    module, _, cls = ALGORITHMS[name].partition(":")
    return getattr(importlib.import_module(module), cls)


def settings_of(name: str) -> type:
    """The dataclass of the algorithm's settings."""
    if name in SETTINGS:
        return SETTINGS[name]
    found: type = load(name).Settings
    return found
