"""Linear programmes that differ in their right-hand side alone: min cost @ v, matrix @ v = b, v >= 0.

`scipy.optimize.linprog` takes six times as long to check and rewrite such a small programme as HiGHS to solve it. So the model is written
once, and HiGHS, as scipy has it, gets it with each b anew, from no earlier basis: its solutions are those of linprog, to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marl.game import F8


class Solver:
    """The programme of one cost and matrix. Where scipy has HiGHS under another name, `linprog` serves."""

    def __init__(self, cost: F8, matrix: Any) -> None:
        self._cost, self._matrix = cost, matrix
        self._highs, self._model = _written(cost, matrix.tocsc())

    def solve(self, right: F8) -> F8 | None:
        """The solution v for the right-hand side b, None where there is none."""
        if self._highs is None:
            return self.plain(right)
        self._model.row_lower_ = self._model.row_upper_ = right
        self._highs.passModel(self._model)
        self._highs.run()
        if self._highs.modelStatusToString(self._highs.getModelStatus()) != "Optimal":
            return None
        return np.array(self._highs.getSolution().col_value)

    def plain(self, right: F8) -> F8 | None:
        """The same by `scipy.optimize.linprog`."""
        from scipy.optimize import linprog

        found: F8 | None = linprog(self._cost, A_eq=self._matrix, b_eq=right, method="highs").x
        return found


def _written(cost: F8, matrix: Any) -> tuple[Any, Any]:
    """(HiGHS with the options of linprog, the model without its right-hand side); twice None where scipy has it otherwise."""
    try:
        from scipy.optimize._highspy import _core

        model, options, highs = _core.HighsLp(), _core.HighsOptions(), _core._Highs()
        rows, columns = matrix.shape
        model.num_col_, model.num_row_ = columns, rows
        model.a_matrix_.num_col_, model.a_matrix_.num_row_ = columns, rows
        model.a_matrix_.format_ = _core.MatrixFormat.kColwise
        model.a_matrix_.start_, model.a_matrix_.index_, model.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
        model.col_cost_, model.col_lower_, model.col_upper_ = cost, np.zeros(columns), np.full(columns, _core.kHighsInf)
        options.presolve, options.simplex_strategy = "on", _core.simplex_constants.SimplexStrategy.kSimplexStrategyDual
        options.log_to_console = options.output_flag = False
        highs.passOptions(options)
    except (ImportError, AttributeError, TypeError):
        return None, None
    return highs, model
