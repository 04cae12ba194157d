"""How rules are compiled.

`@rule` is numba's `@njit` with two settings. `error_model="numpy"` lets a division by zero give inf or NaN, which
`marl.check` looks for: with Python's error model every rule has a path that raises, on which numba keeps reference
counts of all arrays, and the loop over copies runs five times slower. `forceinline` removes the calls.
"""

from __future__ import annotations

from typing import Any

from numba import njit

rule: Any = njit(error_model="numpy", forceinline=True)
