"""Entry points: the only room that knows Hydra, W&B and TensorBoard.

`experiments.train(env, algorithm, ...)`, `experiments.evaluate(run)`, `experiments.ensemble([run, ...])`, `experiments.resume(run)`
and `experiments.reproduce(row)` are the commands from Python; `experiments.replay.replay(run)` is one episode, tick by tick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.ensembles import Ensemble, ensemble
    from experiments.evaluation import evaluate
    from experiments.reproduction import reproduce
    from experiments.resumption import resume
    from experiments.training import Result, train

_LAZY = {
    "train": "training",
    "Result": "training",
    "evaluate": "evaluation",
    "resume": "resumption",
    "reproduce": "reproduction",
    "ensemble": "ensembles",
    "Ensemble": "ensembles",
}


def __getattr__(name: str) -> Any:
    """The calls, imported when first asked for."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"experiments.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'experiments' has no attribute {name!r}")


__all__ = ["Ensemble", "Result", "ensemble", "evaluate", "reproduce", "resume", "train"]
