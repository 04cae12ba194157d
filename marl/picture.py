"""A generic picture of one tick: a card an agent with bars of what it sees and does. The same as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from marl.game import Column, Discrete

CARDS, LINES, ACROSS = 12, 10, 4
"""Most cards, most bars of each kind on a card, and cards in a row."""

WIDTH, LINE, EDGE, HEADER, TITLE = 290, 20, 14, 58, 34
"""Pixels: width of a card, height of a bar's line, margin, height of the header and of a card's title."""

PAPER, CARD, TRACK, INK, FAINT = "#f4f5f7", "#ffffff", "#e6e9ee", "#1f2933", "#7b8794"
SEEN, DONE, GOOD, BAD = "#3b7dd8", "#e08a1e", "#1f8a5b", "#c8372d"


@dataclass(frozen=True)
class Gauge:
    """A value of a column of a table."""

    name: str
    value: float
    column: Column | Discrete

    @property
    def label(self) -> str:
        """The value as text: a choice by its label where it has one, a dash where there is no value."""
        if math.isnan(self.value):
            return "-"
        if isinstance(self.column, Discrete):
            return self.column.labels[int(self.value)] if self.column.labels else f"{self.value:.0f}"
        return f"{self.value:.4g}"

    def place(self, value: float) -> float:
        """Where a value stands on the bar, 0 to 1; a side without a bound is squashed by x / (1 + |x|)."""
        low, high = self.column.low, self.column.high
        if math.isinf(low) and math.isinf(high):
            share = 0.5 + 0.5 * value / (1.0 + abs(value))
        elif math.isinf(high):
            share = (value - low) / (1.0 + abs(value - low))
        elif math.isinf(low):
            share = 1.0 - (high - value) / (1.0 + abs(high - value))
        elif isinstance(self.column, Column) and self.column.scale == "log":
            share = math.log(max(value, low) / low) / math.log(high / low)
        else:
            share = (value - low) / (high - low) if high > low else 0.0
        return min(max(share, 0.0), 1.0)

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the bar: from 0 (or the bound nearest to it) to the value."""
        zero = self.place(min(max(0.0, self.column.low), self.column.high))
        ends = sorted((zero, self.place(self.value) if math.isfinite(self.value) else zero))
        return ends[0], ends[1]


@dataclass(frozen=True)
class Card:
    """An agent: what it sees, its last action (NaN before the first), its last reward, whether it still acts."""

    name: str
    seen: Sequence[Gauge]
    done: Sequence[Gauge]
    reward: float
    acts: bool


@lru_cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def draw(title: str, subtitle: str, cards: Sequence[Card]) -> npt.NDArray[np.uint8]:
    """The picture [H, W, 3]; its size depends on the numbers of cards and columns alone."""
    shown = cards[:CARDS]
    across = -(-len(shown) // -(-len(shown) // ACROSS))
    height = max(_height(card) for card in shown)
    down = -(-len(shown) // across)
    size = (EDGE + across * (WIDTH + EDGE), HEADER + down * (height + EDGE))
    image = Image.new("RGB", (max(size[0], 420), size[1]), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((EDGE, 8), title, INK, _font(20))
    more = f"   ({len(cards) - len(shown)} more agents)" if len(cards) > len(shown) else ""
    pen.text((EDGE, 34), subtitle + more, FAINT, _font(13))
    for i, card in enumerate(shown):
        _card(pen, card, EDGE + (i % across) * (WIDTH + EDGE), HEADER + (i // across) * (height + EDGE), height)
    return np.array(image, np.uint8)


def _height(card: Card) -> int:
    lines = min(len(card.seen), LINES) + min(len(card.done), LINES) + 2
    lines += (len(card.seen) > LINES) + (len(card.done) > LINES)
    return TITLE + lines * LINE + EDGE


def _card(pen: ImageDraw.ImageDraw, card: Card, x: int, y: int, height: int) -> None:
    pen.rounded_rectangle((x, y, x + WIDTH, y + height), 8, CARD, "#d5dae1")
    pen.text((x + 12, y + 9), _short(card.name, 16), INK if card.acts else FAINT, _font(15))
    reward = f"reward {card.reward:+.4g}" if card.acts else "left"
    colour = FAINT if not card.acts or card.reward == 0 else GOOD if card.reward > 0 else BAD
    pen.text((x + WIDTH - 12, y + 10), reward, colour, _font(15), anchor="ra")
    y = _gauges(pen, "sees", card.seen, x, y + TITLE, SEEN if card.acts else FAINT)
    _gauges(pen, "does", card.done, x, y, DONE if card.acts else FAINT)


def _gauges(pen: ImageDraw.ImageDraw, heading: str, gauges: Sequence[Gauge], x: int, y: int, colour: str) -> int:
    """Bars under a heading from y on; returns where they end."""
    pen.text((x + 12, y + 3), heading, FAINT, _font(11))
    y += LINE
    left, right = x + 120, x + WIDTH - 74
    for gauge in gauges[:LINES]:
        pen.text((x + 12, y + 2), _short(gauge.name, 16), INK, _font(12))
        pen.rounded_rectangle((left, y + 4, right, y + 14), 4, TRACK)
        low, high = (left + end * (right - left) for end in gauge.span)
        if high - low >= 1:
            pen.rounded_rectangle((low, y + 4, high, y + 14), 4 if high - low > 8 else 0, colour)
        pen.text((x + WIDTH - 12, y + 2), _short(gauge.label, 9), INK, _font(12), anchor="ra")
        y += LINE
    if len(gauges) > LINES:
        pen.text((x + 12, y + 2), f"{len(gauges) - LINES} more", FAINT, _font(11))
        y += LINE
    return y


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def write(title: str, subtitle: str, cards: Sequence[Card]) -> str:
    """The same as lines of text, one an agent."""
    lines = [f"{title}  {subtitle}"]
    for card in cards:
        seen = "  ".join(f"{g.name} {g.label}" for g in card.seen)
        done = "  ".join(f"{g.name} {g.label}" for g in card.done)
        lines.append(f"  {card.name:<16} {card.reward:+12.5g}   {'sees' if card.acts else 'left'} {seen}   does {done or '-'}")
    return "\n".join(lines)
