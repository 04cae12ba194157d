"""`marl train -m`: a run for every combination of values, one after another or by the chosen Hydra launcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import tables
from experiments.cli import load_modules
from experiments.compose import refused, resolve, session
from marl.errors import UserError

COLUMNS = ("last score", "last return", "last step", "best score", "best return", "best step")
"""Of a run in the sweep's table: its last policies, and its best where it has one, on episodes that chose neither."""
FOLDER = "run_dir=runs/${now:%Y%m%d-%H%M%S}-sweep"


def multirun(overrides: Sequence[str]) -> int:
    """Run all combinations; a run that is refused leaves the others theirs. Prints a table; returns the exit code."""
    from hydra.core.global_hydra import GlobalHydra

    named = any(line.startswith("run_dir=") for line in overrides)
    with session():
        hydra: Any = GlobalHydra.instance().hydra
        try:
            batches = hydra.multirun("train", job, [*overrides, *([] if named else [FOLDER])], with_log_configuration=False)
        except Exception as error:
            raise refused(error) from error
    returns = [ret for batch in batches for ret in batch]
    shared = set.intersection(*(set(ret.overrides) for ret in returns))
    done = [(" ".join(line for line in ret.overrides if line not in shared), ret.return_value) for ret in returns]
    print(tables.table(["run", *COLUMNS, "folder"], [[n, *(r.get(column) for column in COLUMNS), r["folder"]] for n, r in done]))
    refusals = [f"{name}: {row['error']}".removeprefix(": ") for name, row in done if "error" in row]
    if refusals:
        raise UserError(f"{len(refusals)} of {len(done)} runs refused: {'; '.join(refusals)}")
    return 0


def job(config: Any) -> Mapping[str, Any]:
    """One run of the sweep, in a folder of its own; called by the launcher, perhaps in another process."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from experiments.training import begin

    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        load_modules(OmegaConf.to_container(config.modules))  # type: ignore[arg-type]
        config.run_dir = str(folder)
        result = begin(resolve(config))
    except UserError as error:
        return {"folder": str(folder), "error": str(error)}
    row: dict[str, Any] = {"folder": str(folder)}
    for name, kept in result.report["checkpoints"].items():
        row |= {f"{name} score": (kept["score"] or {}).get("mean"), f"{name} return": kept["return"]["mean"], f"{name} step": kept["step"]}
    return row
