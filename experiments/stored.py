"""The configuration of a run that exists, read back from its folder and checked like a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.cli import load_modules
from experiments.compose import Setup, composed, refused, resolve
from experiments.run_folder import RunFolder
from marl.errors import UserError

CHOSEN = ("env", "algorithm", "curriculum")


def stored(folder: RunFolder, changes: Mapping[str, Any] | None = None) -> Setup:
    """The run of config.yaml, with values replaced by `changes` (nested like the file). Raises UserError."""
    from omegaconf import OmegaConf

    values = folder.read_config()
    try:
        modules = values["modules"]
        choices = [f"{group}={values[group]['name'] or 'none'}" for group in CHOSEN]
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder.config}: key {error} is missing, a run's configuration is expected") from error
    load_modules(modules)
    schema = composed(choices)
    if "kwargs" in schema.env:
        OmegaConf.set_struct(schema.env.kwargs, False)
    try:
        merged = OmegaConf.merge(schema, values, dict(changes or {}))
    except Exception as error:
        raise refused(error) from error
    return resolve(merged)
