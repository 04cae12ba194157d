"""Random streams of orders for the compiled book and for its plain-Python twin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from envs.trading.book import GRID, cancel, match, open_book, place, shift
from envs.trading.state import LADDER, TALLY, Desk, Terms, held_, mark_
from marl.compiled import OPTIONS
from tests.envs.book_oracle import Book

OWNERS, OPS, BASE = 5, 40, 1_000
SLOTS = 2 * OWNERS + GRID
PLACE, COME, CANCEL, SHIFT = range(4)
TERMS = Terms(OWNERS, 1, 1, 50_000, 0.0, 0.0)


@njit(**OPTIONS)
def play(w: Any, d: Any, ops: Any, left: Any) -> None:
    """Apply ops [B, L, 5] (kind, owner, side, level, size) to all books; left [B, L] is what an order that came had left."""
    for b in range(ops.shape[0]):
        open_book(d, b, 0, d.order.shape[2])
        for i in range(ops.shape[1]):
            kind, owner, side, at, size = ops[b, i, 0], ops[b, i, 1], ops[b, i, 2], ops[b, i, 3], ops[b, i, 4]
            if kind == PLACE:
                place(w, d, b, 0, 2 * owner + side, owner, side, at, size)
            elif kind == COME:
                left[b, i] = match(w, d, b, 0, owner, side, size, at)
            elif kind == CANCEL:
                cancel(d, b, 0, 2 * owner + side)
            else:
                shift(d, b, 0, d.order.shape[2], at - 32)
                d.mark[b, 0, mark_.base] += at - 32


def desk(copies: int) -> Desk:
    """Empty accounts and books."""
    traders = OWNERS + 1
    whole: Any = lambda *shape: np.zeros((copies, *shape), np.int64)  # noqa: E731
    made = Desk(
        whole(traders), whole(traders, 1), whole(), whole(1, LADDER + 34), whole(traders, 1, len(held_)), whole(traders, len(TALLY)),
        whole(1, GRID, 3), whole(1, SLOTS, 6),
    )  # fmt: skip
    made.mark[:, :, mark_.base] = BASE
    return made


def streams(seed: int, copies: int) -> Any:
    """Orders near the middle, so that many cross; every seventh or so comes, some are cancelled, the grid moves now and then."""
    g = np.random.default_rng(seed)
    kinds = g.choice(4, size=(copies, OPS), p=[0.68, 0.18, 0.11, 0.03])
    side = g.integers(0, 2, (copies, OPS))
    near = np.clip(np.rint(g.normal(32 + np.where(side == 0, -1, 1), 2.5)), 0, 63)
    wide = g.integers(0, 64, (copies, OPS))
    at = np.where(kinds == SHIFT, g.integers(26, 39, (copies, OPS)), np.where(g.random((copies, OPS)) < 0.1, wide, near))
    return np.stack([kinds, g.integers(0, OWNERS, (copies, OPS)), side, at, g.integers(1, 12, (copies, OPS))], -1).astype(np.int64)


def follow(ops: Any) -> tuple[Book, int, list[int]]:
    """(the twin after one stream, its base, what each coming order had left)."""
    book, base, left = Book(), BASE, []
    for kind, owner, side, at, size in ops.tolist():
        left.append(0)
        if kind == PLACE:
            book.place(2 * owner + side, owner, side, base + at, size)
        elif kind == COME:
            left[-1] = book.match(owner, side, size, base + at)
        elif kind == CANCEL:
            book.cancel(2 * owner + side)
        else:
            base += at - 32
            book.keep(base, base + GRID - 1)
    return book, base, left
