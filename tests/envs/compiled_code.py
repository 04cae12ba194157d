"""Looks into the machine code of rules."""

from __future__ import annotations

import re

from numba import njit, typeof

from marl import VectorGame


def references(game: VectorGame) -> int:
    """How often numba counts references to arrays in the body of a game's `step`."""
    p, s, o = game._p, game._s, game._o
    compiled = njit(error_model="numpy")(game.game.step.py_func)  # type: ignore[attr-defined]
    compiled.compile(tuple(typeof(x) for x in (p, s, 0, o.action, o.components, o.cost)))
    code = next(iter(compiled.inspect_llvm().values()))
    bodies = [part for part in re.split(r"\ndefine ", code) if "cpython" not in part[:400] and "cfunc" not in part[:400]]
    return sum(len(re.findall(r"call [^\n]*@NRT_incref", part)) for part in bodies)
