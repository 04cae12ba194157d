"""A run at Weights & Biases: there where there is a key and a network, else in a file of the run folder that `wandb sync` sends.

W&B is no part of a run: what it refuses, or loses, is one line and never the run's end. A run that goes on tells again what W&B lacks:
there it is asked for its last step, a file begins anew with all rows of metrics.jsonl, so that the newest alone is whole.
"""

from __future__ import annotations

import netrc
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from experiments.run_folder import RunFolder
from marl import notice
from marl.track import read_metrics

HOST = "https://api.wandb.ai"
PATIENCE = 6.0
"""Seconds that the server may take to say anything at all."""
STARTING, SENDING = 30.0, 120.0
"""Seconds that it may take to begin a run, and to take what is left at its end."""
GIVEN = ("offline", "disabled", "dryrun")
"""Values of WANDB_MODE that need no key."""


class Wandb:
    """W&B's run of the same id, named by its game, algorithm and seed, with its sweep and seed among the tags."""

    def __init__(self, folder: RunFolder, config: Mapping[str, Any], run_id: str) -> None:
        self._folder, self._config, self._id = folder, config, run_id
        self._run: Any = None
        asked = os.environ.get("WANDB_MODE") or None
        why = "" if asked in GIVEN else unreachable()
        if not why:
            try:
                self._run = self._begin(asked)
            except Exception as error:
                why = _line(error)
        if why:
            notice.say(f"W&B: offline ({why}); metrics.jsonl has every row, and so will {folder.path / 'wandb'}")
            self._run = self._offline()
        self._told = -1 if self._run is None else self._run.step - 1

    def _offline(self) -> Any:
        try:
            return self._begin("offline")
        except Exception as error:
            notice.say(f"W&B: nothing is told ({_line(error)}); metrics.jsonl has every row")
            return None

    def _begin(self, mode: str | None) -> Any:
        import wandb

        tracker, seed = self._config["tracker"], self._config["seed"]
        quiet: Any = {"silent": True, "console": "off", "x_disable_stats": True, "init_timeout": STARTING}
        return wandb.init(
            project=tracker["project"],
            group=tracker["group"],
            job_type=tracker["job_type"],
            tags=[*tracker["tags"], f"seed{seed}", *self._sweep()],
            id=self._id,
            name=f"{self._config['env']['name']}-{self._config['algorithm']['name']}-s{seed}",
            resume="allow",
            config={**self._config, "manifest": self._folder.read_manifest()},
            dir=str(self._folder.path),
            mode=mode,  # type: ignore[arg-type]
            settings=wandb.Settings(**quiet),
        )

    def _sweep(self) -> list[str]:
        """The sweep's folder by name, where the run is of one."""
        above = self._folder.path.absolute().parent
        return [above.name] if (above / "multirun.yaml").exists() else []

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics by name at `step` environment steps; what W&B has is left out."""
        if self._run is None or step <= self._told:
            return
        try:
            self._run.log(dict(values), step=step)
            self._told = step
        except Exception as error:
            notice.say(f"W&B: nothing more is told ({_line(error)}); metrics.jsonl has every row, marl resume tells them again")
            self._run = None

    def catch_up(self, before: int | None) -> None:
        """Tell the rows of metrics.jsonl that W&B lacks, up to the one of step `before` that is told next; None: all of them."""
        if not self._folder.metrics.exists():
            return
        for row in read_metrics(self._folder.metrics):
            if row["step"] < (inf if before is None else before):
                self.row(int(row["step"]), {key: value for key, value in row.items() if key != "step"})

    def conclude(self, report: Mapping[str, Any]) -> list[str]:
        """Put the final evaluation into the run's summary; returns where the run is, in a line or two."""
        if self._run is None:
            return []
        try:
            self._run.summary.update(final(report))
            if not self._run.offline and self._run.url:
                return [f"W&B: {self._run.url}"]
            place = Path(self._run.dir).parent
        except Exception as error:
            notice.say(f"W&B: the final evaluation is not told ({_line(error)}); it is in {self._folder.evaluation}")
            return []
        others = [p for p in place.parent.glob(f"offline-run-*-{self._id}") if p.name != place.name]
        more = f" (it has all rows of the run, also those of {len(others)} earlier: send no other)" if others else ""
        return [f"W&B: offline in {place}{more}", f"send it with: wandb sync {place}"]

    def close(self) -> None:
        """Finish W&B's run; everything is on disk afterwards, or there."""
        if self._run is None:
            return
        run, self._run = self._run, None
        place = Path(run.dir).parent
        worker = threading.Thread(target=_finish, args=(run,), daemon=True)
        with notice.working("W&B takes what is left"):
            worker.start()
            worker.join(SENDING)
        if worker.is_alive():
            notice.say(f"W&B: not everything was taken in {SENDING:.0f} s; send the rest with: wandb sync {place}")


def _finish(run: Any) -> None:
    try:
        run.finish()
    except Exception as error:
        notice.say(f"W&B: {_line(error)}; metrics.jsonl has every row")


def final(report: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an evaluation.json by name: return and scores with their intervals, metrics, baselines' returns."""
    found: dict[str, float] = {"final/step": report["step"]} if "step" in report else {}
    named = {"return": report["return"], **{f"score/{role}": score for role, score in report["scores"].items()}}
    named |= {f"baseline/{name}": other["return"] for name, other in report["baselines"].items()}
    named |= {"score": report["score"], "together": report["together"], "metric": report["metrics"]}
    for name, values in named.items():
        for key, value in (values or {}).items():
            if isinstance(value, int | float):
                found[f"final/{name}" if key == "mean" else f"final/{name}/{key}"] = value
    return found


def unreachable() -> str:
    """Why W&B cannot be told now, in a few words; nothing where it can."""
    server = os.environ.get("WANDB_BASE_URL") or HOST
    if not has_key(server):
        return "no key: wandb login, or WANDB_API_KEY"
    said: list[str] = []
    asking = threading.Thread(target=_ask, args=(server, said), daemon=True)  # a name server may take its own time
    asking.start()
    asking.join(PATIENCE)
    return f"{server} cannot be reached: {said[0] if said else f'no answer in {PATIENCE:.0f} s'}" if not said or said[0] else ""


def _ask(server: str, said: list[str]) -> None:
    """Whether anything answers, through a proxy where one is set."""
    try:
        urllib.request.urlopen(server, timeout=PATIENCE).close()
        said.append("")
    except urllib.error.HTTPError as answer:
        answer.close()
        said.append("")
    except (OSError, ValueError) as error:
        said.append(_line(getattr(error, "reason", None) or error))


def has_key(server: str = HOST) -> bool:
    """Whether a key is set, or `wandb login` left one for the server."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    named = os.environ.get("NETRC")
    places = [Path(named)] if named else [_home() / ".netrc", _home() / "_netrc"]
    return any(_has_login(path, urlsplit(server).hostname or "") for path in places)


def _has_login(path: Path, host: str) -> bool:
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        return Path()


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
