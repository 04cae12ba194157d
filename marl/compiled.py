"""How rules are compiled.

`@rule` is numba's `@njit` with three settings. `error_model="numpy"` lets a division by zero give inf or NaN, which
`marl.check` looks for, instead of a path that raises. `_nrt=False` leaves out reference counts: a rule borrows the
arrays of the copies and allocates none, which is thereby enforced; with counts, which numba only sometimes manages to
prune, the loop over copies ran five to eight times slower. `forceinline` removes the calls.
"""

from __future__ import annotations

from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
"""Of rules and of the driver's loops over copies."""

rule: Any = njit(forceinline=True, **OPTIONS)
