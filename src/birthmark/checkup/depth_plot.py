"""Signal and gradient by depth, as one SVG without scripts or style sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from birthmark.checkup.readings import CheckUp

_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 26, 34
_SIGNAL, _GRADIENT, _BAD = "#2b6cb0", "#b7791f", "#c53030"


def draw_depth(checkup: CheckUp) -> str:
    """Second moments against the order of the layers; dots where findings point.

    Signal and gradient share an axis of powers of ten, each relative to its own median,
    so that a flat line is a healthy one whatever the units.
    """
    layers = checkup.layers
    signal = _decades([layer.forward for layer in layers])
    gradient = _decades([layer.backward for layer in layers])
    known = [value for value in (*signal, *gradient) if value is not None]
    if len(layers) < 2 or not known:
        return ""
    low, high = math.floor(min(known)), math.ceil(max(known))
    low, high = min(low, -1), max(high, 1)
    bad = {name for f in checkup.findings if f.level != "note" for name in f.where}
    bad |= {t.layer for t in checkup.tensors if t.name in bad}

    def x(index: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * index / (len(layers) - 1)

    def y(value: float) -> float:
        share = (high - value) / (high - low)
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * share

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'width="100%" role="img" font-family="sans-serif" font-size="12">',
        "<title>Signal and gradient by depth</title>",
    ]
    step = max(1, (high - low) // 4)
    for tick in range(low, high + 1, step):
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" '
            f'y2="{y(tick):.1f}" stroke="#888" stroke-opacity="0.25"/>'
            f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end" '
            f'fill="currentColor">1e{tick:+d}</text>'
        )
    for values, colour, dash in (
        (signal, _SIGNAL, ""),
        (gradient, _GRADIENT, ' stroke-dasharray="5 3"'),
    ):
        points = [
            f"{x(i):.1f},{y(value):.1f}"
            for i, value in enumerate(values)
            if value is not None
        ]
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            f'stroke-width="1.6"{dash}/>'
        )
    for i, layer in enumerate(layers):
        at = signal[i]
        if layer.name in bad:
            parts.append(
                f'<circle cx="{x(i):.1f}" cy="{y(low if at is None else at):.1f}" '
                f'r="4.5" fill="{_BAD}"><title>{escape(layer.name)}</title></circle>'
            )
    parts += _words(layers[0].name, layers[-1].name, marked=bool(bad))
    return "".join([*parts, "</svg>"])


def _words(first: str, last: str, *, marked: bool) -> list[str]:
    bottom = _HEIGHT - 12
    found = [
        f'<text x="{_LEFT}" y="16" fill="{_SIGNAL}">signal</text>',
        f'<text x="{_LEFT + 48}" y="16" fill="{_GRADIENT}">gradient (dashed)</text>',
        f'<text x="{_LEFT}" y="{bottom}" fill="currentColor">{_short(first)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{bottom}" text-anchor="end" '
        f'fill="currentColor">{_short(last)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="16" text-anchor="end" fill="currentColor">'
        "second moments over their median</text>",
    ]
    if marked:
        found.append(
            f'<text x="{_LEFT + 160}" y="16" fill="{_BAD}">\u25cf named by a finding'
            "</text>"
        )
    return found


def _short(name: str) -> str:
    text = name or "(model)"
    return escape(text if len(text) < 30 else f"\u2026{text[-28:]}")


def _decades(values: Sequence[float | None]) -> list[float | None]:
    """Powers of ten against the median; None for what is zero, or not finite."""
    logs = [
        math.log10(v) if v is not None and 0 < v < math.inf else None for v in values
    ]
    known = sorted(v for v in logs if v is not None)
    if not known:
        return logs
    middle = known[len(known) // 2]
    return [None if v is None else max(-40.0, min(40.0, v - middle)) for v in logs]
