"""Libraries that only some commands need: imported when asked for, and refused with the extra that installs them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from marl.errors import UserError

EXTRAS = {
    "hydra_plugins.hydra_joblib_launcher": "sweep",
    "hydra_plugins.hydra_submitit_launcher": "slurm",
    "ray": "ray",
    "optuna": "tune",
    "duckdb": "analytics",
    "pyarrow": "analytics",
    "google.cloud.bigquery": "bigquery",
}
"""Module -> the extra of this distribution that brings it."""

LAUNCHERS = {"joblib": "hydra_plugins.hydra_joblib_launcher", "submitit_local": "hydra_plugins.hydra_submitit_launcher"}
LAUNCHERS["submitit_slurm"] = LAUNCHERS["submitit_local"]
"""Choice of `hydra/launcher` -> the module that offers it."""


def missing(module: str) -> UserError:
    """What to say where `module` is not installed."""
    return UserError(f"{module.split('.')[-1]} is not installed: pip install 'market-marl[{EXTRAS[module]}]'")


def need(module: str) -> ModuleType:
    """The module, imported. Raises UserError naming the extra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise
        raise missing(module) from error
