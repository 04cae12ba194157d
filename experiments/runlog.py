"""log.jsonl: one JSON object a line with the run's id and where in the run it was, and warnings on stderr as well."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

LOGGER = "marl"
"""Loggers of this name and below it write into the log of the run that is open."""


@dataclass
class Place:
    """Where a run is: environment steps and finished episodes."""

    run: str
    step: int = 0
    episode: int = 0


class _Line(logging.Formatter):
    """A record as a JSON object."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "run": self._place.run,
            "step": self._place.step,
            "episode": self._place.episode,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said)


class _File(logging.FileHandler):
    """Raises what the disk refuses instead of printing a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise


@contextmanager
def opened(path: Path, run: str, level: str) -> Iterator[Place]:
    """Log to `path` while the context lasts; the caller moves the place."""
    place = Place(run)
    handler = _File(path, delay=True)  # a run that is refused writes no line
    handler.setFormatter(_Line(place))
    console = logging.StreamHandler()
    console.setLevel(logging.WARNING)
    console.setFormatter(logging.Formatter("marl: %(levelname)s: %(message)s"))
    logger = logging.getLogger(LOGGER)
    before = logger.level
    logger.setLevel(level)
    for each in (handler, console):
        logger.addHandler(each)
    try:
        yield place
    finally:
        for each in (handler, console):
            logger.removeHandler(each)
        logger.setLevel(before)
        console.close()
        handler.close()
