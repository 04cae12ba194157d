"""A game that ends badly where it is told to: `marl train --module tests.experiments.ill env=ill env.growth=...`.

A copy that is made with growth 2 raises at the first row of step 40, with growth 3 the process is killed there, once: the file `MARL_ILL`
names a folder in which a mark says that it has happened.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import envs
from experiments import training
from tests.commons import COMMONS

envs.GAMES["ill"] = COMMONS
REAL = training._steps


def _steps(setup: Any, folder: Any, run_id: str, watch: Any, resumed: Any) -> Any:
    growth = setup.config["env"].get("growth")
    mark = Path(os.environ["MARL_ILL"]) / f"{growth}-{setup.config['seed']}"

    def ill(progress: Any) -> None:
        watch(progress)
        if progress.steps >= 40 and growth in (2.0, 3.0) and not mark.exists():
            mark.touch()
            if growth == 3.0:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("a fault of the game")

    return REAL(setup, folder, run_id, ill, resumed)


training._steps = _steps
