"""Interleaved rounds: A B C A B C …, so that a machine that speeds up or slows down does it to all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Figure:
    """One way's figures over the rounds: `values` are compared (higher is better), `extra` is told beside."""

    values: list[float] = field(default_factory=list)
    extra: dict[str, list[float]] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def extra_median(self, name: str) -> float:
        return statistics.median(self.extra[name])


def interleave(ways: Mapping[str, Callable[[], tuple[float, Mapping[str, float]]]], rounds: int) -> dict[str, Figure]:
    """Run every way once a round, `rounds` times after one round that does not count."""
    figures = {name: Figure() for name in ways}
    for number in range(rounds + 1):
        for name, measure in ways.items():
            value, extra = measure()
            if number:
                figures[name].values.append(value)
                for key, amount in extra.items():
                    figures[name].extra.setdefault(key, []).append(amount)
    return figures


def ratio(figures: Mapping[str, Figure], name: str, base: str) -> float:
    """The median over the rounds of name/base within one round."""
    pairs = zip(figures[name].values, figures[base].values, strict=True)
    return statistics.median(value / other for value, other in pairs)
