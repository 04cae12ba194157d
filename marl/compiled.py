"""How rules are compiled.

`@rule` is numba's `@njit` with three settings. `error_model="numpy"` lets a division by zero give inf or NaN, which
`marl.check` looks for, instead of a path that raises. `_nrt=False` leaves out reference counts: a rule borrows the
arrays of the copies and allocates none, which is thereby enforced; with counts, which numba only sometimes manages to
prune, the loop over copies ran five to eight times slower. `forceinline` removes the calls.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
"""Of rules and of the driver's loops over copies."""

rule: Any = njit(forceinline=True, **OPTIONS)
apart: Any = njit(**OPTIONS)
"""Of rules that are long and rare, or called from several places: called instead of inlined, which keeps compilation short."""
inlined: Any = njit(inline="always", **OPTIONS)
"""Of rules that are put into their callers before types are inferred, so that their arguments are not passed at all."""


def embedded(function: Any) -> Any:
    """The rule, put into its callers whatever it says itself."""
    return rule(getattr(function, "py_func", function))


def unpacked(function: Any) -> Any:
    """The function with every `p.x` and `s.x` read once, at its beginning, into a local.

    The compiler loads the whole of a tuple at each access of a field: in rules of a wide state, hundreds of accesses times hundreds
    of fields are what compilation spends its minutes on. Lines keep their numbers.
    """
    source = textwrap.dedent(inspect.getsource(function))
    tree = ast.parse(source)
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    (definition,) = tree.body
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    wide = {argument.arg for argument in definition.args.args} & {"p", "s"}
    hoist = _Hoist(wide)
    body = [hoist.visit(statement) for statement in definition.body]
    first = body[0]
    reads = [
        ast.Assign([ast.Name(local, ast.Store())], ast.Attribute(ast.Name(base, ast.Load()), field, ast.Load()))
        for (base, field), local in hoist.found.items()
    ]
    definition.body = [ast.copy_location(ast.fix_missing_locations(ast.copy_location(read, first)), first) for read in reads] + body
    space: dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(tree), function.__code__.co_filename, "exec"), function.__globals__, space)
    made = space[function.__name__]
    made.__module__, made.__doc__ = function.__module__, function.__doc__
    return made


class _Hoist(ast.NodeTransformer):
    """Fields of the named arguments as locals; `found` has what was replaced."""

    def __init__(self, wide: set[str]) -> None:
        self.wide = wide
        self.found: dict[tuple[str, str], str] = {}

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if not (isinstance(node.value, ast.Name) and node.value.id in self.wide):
            return node
        local = self.found.setdefault((node.value.id, node.attr), f"{node.value.id}_{node.attr}")
        return ast.copy_location(ast.Name(local, ast.Load()), node)


def wide(decorator: Any) -> Any:
    """The decorator for rules of a wide state: their fields are `unpacked` first."""
    return lambda function: decorator(unpacked(function))
