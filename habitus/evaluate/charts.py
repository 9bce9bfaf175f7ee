"""The charts of a report: matplotlib in, a string of inline SVG out.

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
_WAITS = ((1, "1 s"), (60, "1 min"), (3600, "1 h"), (86_400, "1 d"), (30 * 86_400, "30 d"), (365 * 86_400, "1 y"))
_FEW_S = ((1e-3, "1 ms"), (0.01, "10 ms"), (0.1, "0.1 s"), (1, "1 s"), (10, "10 s"))
_DURATIONS = (*_FEW_S, (60, "1 min"), (600, "10 min"), (3600, "1 h"), (36_000, "10 h"), (360_000, "100 h"))
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


def rates_chart(
    name: str, lines: Sequence[Line], x_label: str, y_label: str, chance: tuple[float, float] | None
) -> Chart:
    """Draw curves in the unit square; `chance` is the height of guessing at the left and the right edge."""

    def plot(ax: Axes) -> None:
        if chance is not None:
            ax.plot([0, 1], chance, color=MUTED, linewidth=0.9, dashes=(1, 2))
        _draw_lines(ax, lines)
        _unit_square(ax, x_label, y_label)

    return Chart(_svg(name, f"{y_label} against {x_label}", plot), legend(lines))


def reliability_chart(name: str, lines: Sequence[Line]) -> Chart:
    """Draw how often the target was true against the score, with intervals; a calibrated model is on the diagonal."""

    def plot(ax: Axes) -> None:
        highest = max(float(np.max(part)) for line in lines for part in (line.x, line.high) if part is not None)
        end = min(1.0, highest * 1.06)
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, dashes=(1, 2))
        for line, (color, dash) in reversed(list(zip(lines, PALETTE, strict=False))):
            if line.low is not None and line.high is not None:
                ax.vlines(line.x, line.low, line.high, color=color, linewidth=1.2, alpha=0.55)
            ax.plot(line.x, line.y, color=color, linewidth=1.3, marker="o", markersize=4, linestyle=_stroke(dash))
        _unit_square(ax, "mean score", "share that came true", end)

    return Chart(_svg(name, "share that came true against mean score", plot), legend(lines))


def learning_chart(name: str, lines: Sequence[Line], x_label: str, y_label: str, best: float | None) -> Chart:
    """Draw what training recorded; a vertical line marks the weights that were kept."""

    def plot(ax: Axes) -> None:
        _draw_lines(ax, lines, marker="o" if max(len(line.x) for line in lines) <= 40 else "")
        if best is not None:
            ax.axvline(best, color=INK, linewidth=0.9, dashes=(4, 3))
            ax.annotate(
                f"best: {x_label} {best:g}",
                (best, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-4 if _is_right(ax, best) else 4, -3),
                textcoords="offset points",
                ha="right" if _is_right(ax, best) else "left",
                va="top",
                fontsize=10.5,
            )
        ax.margins(x=0.03, y=0.16)
        ax.locator_params(axis="x", integer=True)
        _words(ax, x_label, y_label)

    return Chart(_svg(name, f"{y_label} by {x_label}", plot), legend(lines))


def lengths_chart(
    name: str,
    edges: np.ndarray,
    counts: np.ndarray,
    max_length: float | None,
    words: tuple[str, str] = ("events before the cutoff", "examples"),
) -> Chart:
    """Draw how many examples have how many events; a vertical line marks the most that are kept."""

    def plot(ax: Axes) -> None:
        if edges[-1] > 60 * max(float(edges[0]), 1.0):
            ax.set_xscale("symlog", linthresh=10, linscale=0.6)
            ticks = [t for t in (0, 10, 100, 1_000, 10_000, 100_000, 1_000_000) if t <= edges[-1]]
            ax.set_xticks(ticks, [_compact(t) for t in ticks])
            ax.minorticks_off()
        ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color=PALETTE[0][0], edgecolor="white", linewidth=0.7)
        if max_length is not None and max_length <= edges[-1]:
            ax.axvline(max_length, color=PALETTE[1][0], linewidth=1.3, dashes=(4, 3))
            ax.annotate(
                f"kept: latest {max_length:,g}",
                (max_length, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-4, -3),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=10.5,
            )
        ax.grid(axis="x", visible=False)
        ax.margins(x=0.01, y=0.14)
        ax.yaxis.set_major_formatter(lambda value, _: _compact(value))
        _words(ax, *words)

    return Chart(_svg(name, f"{words[1]} by number of {words[0]}", plot), [])


def steps_chart(name: str, lines: Sequence[Line], ticks: Sequence[str], x_label: str, y_label: str) -> Chart:
    """Draw values at a few named places, a line for each model; a line that has intervals shows them."""

    def plot(ax: Axes) -> None:
        for k, (line, (color, dash)) in reversed(list(enumerate(zip(lines, PALETTE, strict=False)))):
            if line.low is not None and line.high is not None:
                ax.vlines(line.x, line.low, line.high, color=color, linewidth=1.2, alpha=0.55)
            width = 2.0 if k == 0 else 1.3
            ax.plot(line.x, line.y, color=color, linewidth=width, marker="o", markersize=4, linestyle=_stroke(dash))
        ax.set_xticks(range(len(ticks)), ticks)
        ax.margins(x=0.05 if max(map(len, ticks)) < 4 else 0.12)
        ax.set_ylim(bottom=0)
        ax.grid(axis="x", visible=False)
        _words(ax, x_label, y_label)

    return Chart(_svg(name, f"{y_label} by {x_label}", plot), legend(lines))


def gaps_chart(name: str, edges_s: np.ndarray, counts: np.ndarray, median_s: float | None) -> Chart:
    """Draw how long the next event was waited for, on a scale from seconds to years; a line marks the median."""

    def plot(ax: Axes) -> None:
        ax.set_xscale("log")
        ticks = [(s, word) for s, word in _WAITS if edges_s[0] <= s <= edges_s[-1]]
        ax.set_xticks([s for s, _ in ticks], [word for _, word in ticks])
        ax.minorticks_off()
        ax.bar(edges_s[:-1], counts, np.diff(edges_s), align="edge", color=PALETTE[0][0], edgecolor="white")
        if median_s is not None and median_s > edges_s[0]:
            ax.axvline(median_s, color=PALETTE[1][0], linewidth=1.3, dashes=(4, 3))
        ax.grid(axis="x", visible=False)
        ax.margins(x=0.01, y=0.14)
        ax.yaxis.set_major_formatter(lambda value, _: _compact(value))
        _words(ax, "time until the next event", "events")

    return Chart(_svg(name, "events by time until the next event", plot), [])


def cost_chart(name: str, points: Sequence[Point], y_label: str) -> Chart:
    """Draw the quality of each model against the time it took to learn, as a numbered disc with its interval."""

    def plot(ax: Axes) -> None:
        ax.set_xscale("log")
        for k, point in reversed(list(enumerate(points))):
            color, at_s = PALETTE[k % len(PALETTE)][0], max(point.seconds, _DURATIONS[0][0])
            ink, fill = (color, "white") if point.is_rival else ("white", color)
            if point.low is not None and point.high is not None:
                ax.vlines(at_s, point.low, point.high, color=color, linewidth=1.2, alpha=0.55)
            above = 4 + 2 * (len(points) - k)  # a disc hides the number of one that it covers
            ax.plot([at_s], [point.value], "o", markersize=13, color=fill, markeredgecolor=color, zorder=above)
            where: Any = {"ha": "center", "va": "center_baseline", "zorder": above + 1}
            ax.annotate(str(k + 1), (at_s, point.value), color=ink, fontsize=9.5, **where)
        ax.margins(x=0.09, y=0.1)
        low, high = ax.get_xlim()
        ticks = [(s, word) for s, word in _DURATIONS if low <= s <= high]
        ax.set_xticks([s for s, _ in ticks], [word for _, word in ticks])
        ax.minorticks_off()
        _words(ax, "time to learn", y_label)

    named = [(point.name, disc(k, is_open=point.is_rival)) for k, point in enumerate(points)]
    return Chart(_svg(name, f"{y_label} against time to learn", plot), named)


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


def _draw_lines(ax: Axes, lines: Sequence[Line], marker: str = "") -> None:
    for k, (line, (color, dash)) in reversed(list(enumerate(zip(lines, PALETTE, strict=False)))):
        width = 2.0 if k == 0 else 1.4
        ax.plot(line.x, line.y, color=color, linewidth=width, marker=marker, markersize=3.5, linestyle=_stroke(dash))


def _stroke(dash: str) -> Any:
    """Return a dash as matplotlib takes it: (offset, lengths in line widths)."""
    return (0, tuple(float(part) for part in dash.split())) if dash else "-"


def _unit_square(ax: Axes, x_label: str, y_label: str, end: float = 1.0) -> None:
    margin = 0.015 * end
    ax.set_xlim(-margin, end + margin)
    ax.set_ylim(-margin, end + margin)
    _words(ax, x_label, y_label)


def _words(ax: Axes, x_label: str, y_label: str) -> None:
    """Write the vertical axis's name upright above it: turned text is slow to read."""
    ax.set_xlabel(x_label, loc="right")
    ax.set_title(y_label, loc="left", fontsize=11, color=MUTED, pad=7)


def _compact(value: float) -> str:
    """Write a tick in few characters.

    >>> _compact(512), _compact(20_000), _compact(1_500_000)
    ('512', '20k', '1.5M')
    """
    for unit, sign in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= unit:
            return f"{value / (1e3 if sign == 'k' else unit):g}{sign}"
    return f"{value:,.4g}" if value < 1e3 else f"{value:,.0f}"


def _is_right(ax: Axes, x: float) -> bool:
    low, high = ax.get_xlim()
    return x > low + 0.55 * (high - low)


def _svg(name: str, label: str, plot: Callable[[Axes], None]) -> str:
    matplotlib = require("matplotlib", "report")
    figure_module = require("matplotlib.figure", "report")
    buffer = io.StringIO()
    with matplotlib.rc_context({**_RC, "svg.hashsalt": f"habitus-{name}"}):
        figure = figure_module.Figure(figsize=_SIZE_IN, dpi=72)
        plot(figure.add_axes(_FRAME))  # a fixed frame: measuring every label takes three times as long as drawing
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inlined(buffer.getvalue(), name, label)


def _inlined(svg: str, name: str, label: str) -> str:
    """Make a matplotlib file fit to stand in a page: no outside names, no styles that leak, ids of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    opening, rest = svg.split(">", 1)
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
