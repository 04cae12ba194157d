"""`marl export`: episodes of the auction's mode advertising as a Parquet file in AuctionNet's columns, by impression or by tick."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.cli import load_modules
from experiments.replay import check_episode, episode_parser, stage, what_of
from marl.errors import UserError
from marl.extras import need

LEVELS = ("impressions", "ticks")
ENDING = ".parquet"
MANY = 10_000
"""Most episodes of a file."""


class Sink:
    """A Parquet file that grows by tables of the same columns; a file that was not finished is taken away."""

    def __init__(self, path: Path) -> None:
        self._arrow, self._parquet = need("pyarrow"), importlib.import_module("pyarrow.parquet")
        self._path, self._draft = path, path.with_name(path.name + ".tmp")
        self._writer: Any = None
        self.rows = 0

    def take(self, columns: dict[str, Any]) -> None:
        """Append rows, column by column."""
        table = self._arrow.table(columns)
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._draft, table.schema, compression="zstd")
        self._writer.write_table(table)
        self.rows += table.num_rows

    def __enter__(self) -> Sink:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if self._writer is not None:
            self._writer.close()
        if kind is None and self._writer is not None:
            self._draft.replace(self._path)
        else:
            self._draft.unlink(missing_ok=True)


def export(
    what: str | Path | Sequence[str],
    output: Path,
    *,
    level: str = LEVELS[0],
    episode: int = 0,
    episodes: int = 1,
    checkpoint: str = "result",
    baseline: str | None = None,
) -> int:
    """Play episodes as `experiments.replay` does and write their rows into `output`; returns how many. Raises UserError."""
    from envs.auction.export import Export
    from marl.evaluate import play

    check(output, level, episodes)
    check_episode(episode, checkpoint)
    with Sink(output) as sink:
        for number in range(episode, episode + episodes):
            with stage(what, number, checkpoint, baseline, prepared) as ready:
                params: Any = ready.copies.params  # type: ignore[attr-defined]
                play(ready.copies, ready.plan, ready.policies, watch=Export(params, level, number, sink.take))
    return sink.rows


def prepared(params: Any) -> dict[str, Any]:
    """What makes the game keep every bid. Raises UserError for another game."""
    from envs.auction.params import AuctionParams

    if not isinstance(params, AuctionParams) or params.mode != "advertising":
        raise UserError("marl export: env = auction in mode advertising is expected, say env=auction env.preset=train")
    return {"record": True}


def check(output: Path, level: str, episodes: int) -> None:
    """Raises UserError for what is not legal."""
    if output.suffix != ENDING:
        raise UserError(f"output = {str(output)!r}: the legal ending is {ENDING}")
    if level not in LEVELS:
        raise UserError(f"level = {level!r}: legal are {', '.join(LEVELS)}")
    if not 1 <= episodes <= MANY:
        raise UserError(f"episodes = {episodes}: legal are whole numbers in [1, {MANY}]")


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = episode_parser("export")
    options.add_argument("--level", default=LEVELS[0], help=f"rows: {' or '.join(LEVELS)} ({LEVELS[0]})")
    options.add_argument("--episodes", type=int, default=1, help="how many (1); each is a deliveryPeriodIndex")
    options.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=f"where it goes: *{ENDING}")
    given = options.parse_intermixed_args(list(arguments))
    load_modules(given.module)
    rows = export(
        what_of("export", given.what), given.output, level=given.level, episode=given.episode, episodes=given.episodes,
        checkpoint=given.checkpoint, baseline=given.baseline,
    )  # fmt: skip
    print(f"{rows:,} rows of {given.level}\n{given.output}")
    return 0
