"""What all charts share: colours, lines and legends, and how a matplotlib figure becomes inline SVG.

A chart carries only our own words (axes and ticks). Names that come from data are written in the HTML legend beside
it, where any script is drawn by the reader's fonts and nothing is read as mathematics. Every chart is drawn at the
width of a phone, so that its words keep their size there; wider pages put charts side by side.
The same numbers give the same bytes. Needs the extra `report`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from habitus.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, RULE = "#1c2330", "#5a6472", "#dde1e7"
# Okabe and Ito's colours (2008), darkened where they would be faint on white; the dash tells them apart in grey.
PALETTE = (
    ("#0063a6", ""),
    ("#c2570c", "5 2"),
    ("#00805e", "2 2"),
    ("#a8437f", "7 2 2 2"),
    ("#8a6d00", "1 2"),
    ("#2f8fc4", "9 3"),
    ("#5a6472", "3 1"),
    ("#7a2f2f", "4 2 1 2"),
)
_SIZE_IN = (4.7, 3.1)  # 338 x 223 points: one point is one pixel on a phone
_FRAME = (0.115, 0.165, 0.87, 0.725)  # left, bottom, width and height of the axes, as shares of the chart
_RC = {
    "svg.fonttype": "none",
    "font.size": 11,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the layout is measured with it wherever the report is made
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": RULE,
    "axes.linewidth": 1,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Line:
    """One line of a chart: its name (for the legend), its points and, for shares, their intervals."""

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclass(frozen=True)
class Point:
    """One model of a chart of quality against cost; a rival by counting is drawn as an open disc."""

    name: str
    seconds: float
    value: float
    low: float | None = None
    high: float | None = None
    is_rival: bool = False


@dataclass(frozen=True)
class Chart:
    """A finished chart: its SVG, and (name, swatch SVG) for each line of its legend."""

    svg: str
    legend: list[tuple[str, str]]


def disc(k: int, *, is_open: bool) -> str:
    """Return the numbered disc of the k-th model, as SVG."""
    color = PALETTE[k % len(PALETTE)][0]
    ink, fill = (color, "white") if is_open else ("white", color)
    return (
        f'<svg class="disc" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7" '
        f'fill="{fill}" stroke="{color}"/><text x="8" y="11.5" font-size="10" text-anchor="middle" fill="{ink}">'
        f"{k + 1}</text></svg>"
    )


def legend(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Return (name, swatch) for each line, in drawing order."""
    return [(line.name, swatch(k)) for k, line in enumerate(lines[: len(PALETTE)])]


def swatch(k: int) -> str:
    """Return a short stroke in the colour and dash of the k-th line, as SVG."""
    color, dash = PALETTE[k % len(PALETTE)]
    width = 2.6 if k == 0 else 2
    return (
        '<svg class="swatch" viewBox="0 0 26 8" aria-hidden="true"><path d="M1 4H25" fill="none" '
        f'stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash or "none"}"/></svg>'
    )


def draw_lines(ax: Axes, lines: Sequence[Line], marker: str = "") -> None:
    """Draw lines, the first one on top and the thickest."""
    for k, (line, (color, dash)) in reversed(list(enumerate(zip(lines, PALETTE, strict=False)))):
        width = 2.0 if k == 0 else 1.4
        ax.plot(line.x, line.y, color=color, linewidth=width, marker=marker, markersize=3.5, linestyle=stroke(dash))


def stroke(dash: str) -> Any:
    """Return a dash as matplotlib takes it: (offset, lengths in line widths)."""
    return (0, tuple(float(part) for part in dash.split())) if dash else "-"


def unit_square(ax: Axes, x_label: str, y_label: str, end: float = 1.0) -> None:
    """Set both axes from 0 to `end`, and name them."""
    margin = 0.015 * end
    ax.set_xlim(-margin, end + margin)
    ax.set_ylim(-margin, end + margin)
    words(ax, x_label, y_label)


def words(ax: Axes, x_label: str, y_label: str) -> None:
    """Write the vertical axis's name upright above it: turned text is slow to read."""
    ax.set_xlabel(x_label, loc="right")
    ax.set_title(y_label, loc="left", fontsize=11, color=MUTED, pad=7)


def compact(value: float) -> str:
    """Write a tick in few characters.

    >>> compact(512), compact(20_000), compact(1_500_000)
    ('512', '20k', '1.5M')
    """
    for unit, sign in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= unit:
            return f"{value / (1e3 if sign == 'k' else unit):g}{sign}"
    return f"{value:,.4g}" if value < 1e3 else f"{value:,.0f}"


def is_right(ax: Axes, x: float) -> bool:
    """Say whether a place lies so far right that its words must stand on its left."""
    low, high = ax.get_xlim()
    return x > low + 0.55 * (high - low)


def svg(name: str, label: str, plot: Callable[[Axes], None]) -> str:
    """Return what `plot` draws, as SVG to stand in a page."""
    matplotlib = require("matplotlib", "report")
    figure_module = require("matplotlib.figure", "report")
    buffer = io.StringIO()
    with matplotlib.rc_context({**_RC, "svg.hashsalt": f"habitus-{name}"}):
        figure = figure_module.Figure(figsize=_SIZE_IN, dpi=72)
        plot(figure.add_axes(_FRAME))  # a fixed frame: measuring every label takes three times as long as drawing
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inlined(buffer.getvalue(), name, label)


def _inlined(drawn: str, name: str, label: str) -> str:
    """Make a matplotlib file fit to stand in a page: no outside names, no styles that leak, ids of its own."""
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", drawn, flags=re.DOTALL)
    opening, rest = drawn.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    assert box, opening
    rest = rest.replace("xlink:href=", "href=")
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', rest))
    rest = re.sub(r'\sid="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", rest)
    rest = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", rest)
    rest = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", rest)
    rest = re.sub(r"font-family: [^;\"]*;? ?", "", rest)
    rest = re.sub(r"\n\s*", "\n", rest)
    return f'<svg class="chart" {box[0]} role="img" aria-label="{escape(label)}">{rest.strip()}'
