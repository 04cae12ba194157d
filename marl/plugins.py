"""Games, algorithms and environments that live elsewhere, imported by name. What is wrong with a name is one line."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from marl.errors import UserError


def load_module(name: str, option: str = "--module") -> ModuleType:
    """Import a module, which registers what it brings: `envs.GAMES["mine"] = GAME`, `algorithms.ALGORITHMS["mine"] = ...`.

    The folder where the command was started is looked through as well, last: files that lie there replace no library. `option` names
    the setting in the error.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"{option} = {name!r}: the dotted name of a module is expected")
    if "" not in sys.path:
        sys.path.append("")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        lacking = str(error.name)
        inside = "" if name == lacking or name.startswith(f"{lacking}.") else f", which {name} imports"
        raise UserError(f"{option} = {name!r}: no module named {lacking!r}{inside}") from error
    except Exception as error:  # whatever the module does when imported
        raise UserError(f"{option} = {name!r}: importing it raised {type(error).__name__}: {_line(error)}") from error


def load_attribute(address: str, option: str) -> Any:
    """What `module:attribute` names."""
    module, _, name = address.partition(":")
    if not module or not name:
        raise UserError(f"{option} = {address!r}: module:name is expected")
    found = load_module(module, option)
    if not hasattr(found, name):
        raise UserError(f"{option} = {address!r}: module {module!r} has no {name!r}")
    return getattr(found, name)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
