"""Which code a run's folder may bring: a stored `config.yaml` names modules to import and a factory to call.

A checkpoint runs no code when it is read (`marl.checkpoint`); a configuration may. So a module or a factory of a folder is taken where
the user has named it in this process: on the command line with `--module NAME`, as a choice of `marl train`, or everything with `--trust`;
in Python with `trust("NAME")`. Beside these, without a word of the user's, modules that are imported already, modules of installed
distributions, and factories of installed environments: of a distribution that is, or requires, PettingZoo or Gymnasium. What those
import in turn, by an argument like `package:Name-v0`, is held to the same.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from marl.errors import UserError

OWN = ("marl.tuples:parallel_env",)
"""Factories of this distribution, of whose other functions none is an environment's."""
OURS = "market-marl"
ENVIRONMENTS = ("pettingzoo", "gymnasium")
"""Distributions of environments, and those whose requirement makes another one."""
ADDRESS = re.compile(r"([A-Za-z_][\w.]*):")
EVERYTHING = "*"

_named: set[str] = set()
_said: set[str] = set()


def trust(*names: str) -> None:
    """Let stored runs bring these modules, and factories of them; without names whatever they bring."""
    _named.update(names or (EVERYTHING,))


@contextmanager
def trusting() -> Iterator[None]:
    """Whatever stored runs bring is taken while the context lasts."""
    before = EVERYTHING in _named
    trust()
    try:
        yield
    finally:
        if not before:
            _named.discard(EVERYTHING)


def chosen(config: Mapping[str, Any]) -> None:
    """What the user has just composed is the user's."""
    modules, addresses = brought(config)
    _named.update(modules, addresses)


def brought(config: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(modules that a configuration imports, `module:name` addresses that it calls or hands to what it calls). Raises UserError."""
    modules, env = config["modules"], config["env"]
    if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
        raise UserError(f"modules = {modules!r}: a list like [a, b] is expected")
    if not isinstance(env, Mapping) or env.get("factory") is None:
        return modules, []
    return modules, [str(env["factory"]), *_addresses(env.get("kwargs"))]


def _addresses(value: Any) -> Iterator[str]:
    """Texts like `module:name` in nested arguments."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _addresses(item)
    elif isinstance(value, str) and ADDRESS.match(value):
        yield value


def check(config: Mapping[str, Any], path: Path) -> None:
    """Raise UserError where a stored configuration brings code that was not named; say in a line what it brings without having been."""
    modules, addresses = brought(config)
    told = []
    for name in [*modules, *addresses]:
        if _is_named(name):
            continue
        module = name.partition(":")[0]
        does = "imports" if ":" not in name else "calls" if name == addresses[0] else "imports for"
        known = _is_imported(name) if name in modules else name in OWN or _is_environment(module)
        if not known:
            kind = "module" if name in modules else "package of environments"
            raise UserError(
                f"{path} brings code: its config.yaml {does} {name!r}, of no installed {kind}: if you know it, name it with "
                f"--module {module}, or take all that the run brings with --trust"
            )
        if name not in sys.modules:
            told.append(f"{does} {name}")
    line = f"marl: {path} brings code: its config.yaml {', '.join(told)}"
    if told and line not in _said:
        _said.add(line)
        print(line, file=sys.stderr)


def _is_named(name: str) -> bool:
    """Whether the user named this module or address, or a package that it is in."""
    parts = name.partition(":")[0].split(".")
    packages = {".".join(parts[: i + 1]) for i in range(len(parts))}
    return bool(_named & {EVERYTHING, name, *packages})


def _is_imported(name: str) -> bool:
    """Whether a module is here already, so that importing it runs nothing, or is an installed distribution's."""
    return name in sys.modules or bool(_distributions(name))


def _is_environment(name: str) -> bool:
    """Whether a module is of an installed distribution of environments."""
    others = (distribution for distribution in _distributions(name) if distribution.lower() != OURS)
    return any(_requires(distribution) & set(ENVIRONMENTS) for distribution in others)


def _requires(distribution: str) -> set[str]:
    """The name of a distribution and of those that it requires without an extra, in small letters."""
    needed = importlib.metadata.requires(distribution) or []
    return {distribution.lower(), *(re.split(r"[^\w.-]", text)[0].lower() for text in needed if "extra ==" not in text)}


def _distributions(name: str) -> Sequence[str]:
    """Installed distributions whose files a module is found among; none for a namesake in the folder where the command was started."""
    top = name.partition(".")[0]
    found = importlib.metadata.packages_distributions().get(top, [])
    if not found:
        return []
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    places = [Path(place) for place in (spec.submodule_search_locations or [spec.origin or ""])] if spec is not None else []
    return [d for d in found if any(_is_of(place, importlib.metadata.distribution(d)) for place in places)]


def _is_of(place: Path, distribution: importlib.metadata.Distribution) -> bool:
    """Whether a file or folder lies where a distribution was installed, or where it is developed."""
    roots = [Path(str(distribution.locate_file("")))]
    developed = re.search(r'"url": "file://([^"]+)"', distribution.read_text("direct_url.json") or "")
    if developed is not None:
        roots.append(Path(developed[1]))
    return any(place.resolve().is_relative_to(root.resolve()) for root in roots)
