"""A walk of the source: no error is swallowed, no default hides a missing key, files stay short, nothing is left to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("marl", "envs", "algorithms", "curricula", "experiments")
SOURCE = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
EVERY = [*SOURCE, *sorted((ROOT / "tests").rglob("*.py"))]
LONGEST = 400

CONFIGS = {"config", "cfg", "settings", "overrides", "choices", "options", "env", "algorithm", "curriculum", "tracker", "evaluation"}
"""Names that hold a configuration. Its keys are all declared with their defaults in the schema, so that asking one of these for a key
with a default of one's own hides a mistyped or missing key; a record that a file holds (a manifest, a row) may lack a key."""

UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def swallowed(tree: ast.AST) -> Iterator[str]:
    """Handlers that name no exception, and handlers and `suppress` blocks that do nothing at all with one of the broad kinds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield f"line {node.lineno}: bare except"
            if all(isinstance(x, ast.Pass | ast.Continue) or _is_dots(x) for x in node.body):
                yield f"line {node.lineno}: an exception is dropped in silence"
        if isinstance(node, ast.Call) and _name(node.func) == "suppress":
            broad = {_name(x) for x in node.args} & {"Exception", "BaseException"}
            if broad:
                yield f"line {node.lineno}: suppress({broad.pop()})"


def hidden(tree: ast.AST) -> Iterator[str]:
    """`config.get(key, default)`, `getattr(config, key, default)` and `select(config, key, default=...)` on a configuration."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = _name(node.func)
        if name in ("get", "pop", "setdefault") and isinstance(node.func, ast.Attribute) and len(node.args) + len(node.keywords) > 1:
            holder = node.func.value
        elif (name == "getattr" and len(node.args) > 2) or (name == "select" and any(k.arg == "default" for k in node.keywords)):
            holder = node.args[0]
        else:
            continue
        if _name(holder) in CONFIGS:
            yield f"line {node.lineno}: {ast.unparse(node)} hides a missing key"


def _is_dots(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _name(node: ast.AST) -> str:
    """The last name of an expression: `config` of `self.config`, `env` of `config["env"]`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return str(node.slice.value) if isinstance(node.slice, ast.Constant) else _name(node.value)
    return node.id if isinstance(node, ast.Name) else ""


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=[str(path.relative_to(ROOT)) for path in paths])


@each(EVERY)
def test_no_error_is_swallowed(path: Path) -> None:
    assert not list(swallowed(ast.parse(path.read_text())))


@each([path for path in SOURCE if path.relative_to(ROOT).parts[0] == "experiments"])
def test_no_default_hides_a_missing_key(path: Path) -> None:
    assert not list(hidden(ast.parse(path.read_text())))


@each(EVERY)
def test_files_are_short_and_finished(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST
    assert not UNFINISHED.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    f()\nexcept:\n    raise",
        "try:\n    f()\nexcept ValueError:\n    pass",
        "for x in y:\n    try:\n        f()\n    except (ValueError, KeyError):\n        continue",
        "try:\n    f()\nexcept Exception:\n    ...",
        "try:\n    f()\nexcept OSError:\n    'why'",
        "with contextlib.suppress(Exception):\n    f()",
    ],
)
def test_the_walk_sees_a_swallowed_error(text: str) -> None:
    assert list(swallowed(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "config.get('seed', 0)",
        "self.config.env.get('preset', '')",
        "run['algorithm'].get('lr', 1e-3)",
        "getattr(settings, 'threads', 1)",
        "OmegaConf.select(cfg, 'a.b', default=3)",
        "overrides.pop('seed', None)",
    ],
)
def test_the_walk_sees_a_hidden_key(text: str) -> None:
    assert list(hidden(ast.parse(text)))


def test_the_walk_lets_honest_code_pass() -> None:
    assert not list(swallowed(ast.parse("try:\n    f()\nexcept OSError as error:\n    raise UserError('x') from error")))
    assert not list(
        hidden(ast.parse("os.environ.get('HOME', ''); manifest.get('changes', []); config.get('seed'); getattr(config, 'seed')"))
    )
