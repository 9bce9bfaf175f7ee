"""The charts of a report: matplotlib in, a string of inline SVG out.

A chart carries only our own words (axes and ticks). Names that come from data are written in the HTML legend beside
it, where any script is drawn by the reader's fonts and nothing is read as mathematics. Every chart is drawn at the
width of a phone, so that its words keep their size there; wider pages put charts side by side.
The same numbers give the same bytes. Needs the extra `report`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from habitus.evaluate._drawing import (
    INK,
    MUTED,
    PALETTE,
    Chart,
    Line,
    Point,
    compact,
    disc,
    draw_lines,
    is_right,
    legend,
    stroke,
    svg,
    unit_square,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Chart",
    "Line",
    "Point",
    "cost_chart",
    "gaps_chart",
    "learning_chart",
    "lengths_chart",
    "plain_chart",
    "points_chart",
    "rates_chart",
    "reliability_chart",
    "steps_chart",
]

_WAITS = ((1, "1 s"), (60, "1 min"), (3600, "1 h"), (86_400, "1 d"), (30 * 86_400, "30 d"), (365 * 86_400, "1 y"))
_FEW_S = ((1e-3, "1 ms"), (0.01, "10 ms"), (0.1, "0.1 s"), (1, "1 s"), (10, "10 s"))
_DURATIONS = (*_FEW_S, (60, "1 min"), (600, "10 min"), (3600, "1 h"), (36_000, "10 h"), (360_000, "100 h"))


def rates_chart(
    name: str, lines: Sequence[Line], x_label: str, y_label: str, chance: tuple[float, float] | None
) -> Chart:
    """Draw curves in the unit square; `chance` is the height of guessing at the left and the right edge."""

    def plot(ax: Axes) -> None:
        if chance is not None:
            ax.plot([0, 1], chance, color=MUTED, linewidth=0.9, dashes=(1, 2))
        draw_lines(ax, lines)
        unit_square(ax, x_label, y_label)

    return Chart(svg(name, f"{y_label} against {x_label}", plot), legend(lines))


def reliability_chart(name: str, lines: Sequence[Line]) -> Chart:
    """Draw how often the target was true against the score, with intervals; a calibrated model is on the diagonal."""

    def plot(ax: Axes) -> None:
        highest = max(float(np.max(part)) for line in lines for part in (line.x, line.high) if part is not None)
        end = min(1.0, highest * 1.06)
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, dashes=(1, 2))
        for line, (color, dash) in reversed(list(zip(lines, PALETTE, strict=False))):
            if line.low is not None and line.high is not None:
                ax.vlines(line.x, line.low, line.high, color=color, linewidth=1.2, alpha=0.55)
            ax.plot(line.x, line.y, color=color, linewidth=1.3, marker="o", markersize=4, linestyle=stroke(dash))
        unit_square(ax, "mean score", "share that came true", end)

    return Chart(svg(name, "share that came true against mean score", plot), legend(lines))


def learning_chart(name: str, lines: Sequence[Line], x_label: str, y_label: str, best: float | None) -> Chart:
    """Draw what training recorded; a vertical line marks the weights that were kept."""

    def plot(ax: Axes) -> None:
        draw_lines(ax, lines, marker="o" if max(len(line.x) for line in lines) <= 40 else "")
        if best is not None:
            ax.axvline(best, color=INK, linewidth=0.9, dashes=(4, 3))
            ax.annotate(
                f"best: {x_label} {best:g}",
                (best, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-4 if is_right(ax, best) else 4, -3),
                textcoords="offset points",
                ha="right" if is_right(ax, best) else "left",
                va="top",
                fontsize=10.5,
            )
        ax.margins(x=0.03, y=0.16)
        ax.locator_params(axis="x", integer=True)
        words(ax, x_label, y_label)

    return Chart(svg(name, f"{y_label} by {x_label}", plot), legend(lines))


def lengths_chart(
    name: str,
    edges: np.ndarray,
    counts: np.ndarray,
    max_length: float | None,
    named: tuple[str, str] = ("events before the cutoff", "examples"),
) -> Chart:
    """Draw how many examples have how many events; a vertical line marks the most that are kept."""

    def plot(ax: Axes) -> None:
        if edges[-1] > 60 * max(float(edges[0]), 1.0):
            ax.set_xscale("symlog", linthresh=10, linscale=0.6)
            ticks = [t for t in (0, 10, 100, 1_000, 10_000, 100_000, 1_000_000) if t <= edges[-1]]
            ax.set_xticks(ticks, [compact(t) for t in ticks])
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
        ax.yaxis.set_major_formatter(lambda value, _: compact(value))
        words(ax, *named)

    return Chart(svg(name, f"{named[1]} by number of {named[0]}", plot), [])


def steps_chart(name: str, lines: Sequence[Line], ticks: Sequence[str], x_label: str, y_label: str) -> Chart:
    """Draw values at a few named places, a line for each model; a line that has intervals shows them."""

    def plot(ax: Axes) -> None:
        for k, (line, (color, dash)) in reversed(list(enumerate(zip(lines, PALETTE, strict=False)))):
            if line.low is not None and line.high is not None:
                ax.vlines(line.x, line.low, line.high, color=color, linewidth=1.2, alpha=0.55)
            width = 2.0 if k == 0 else 1.3
            ax.plot(line.x, line.y, color=color, linewidth=width, marker="o", markersize=4, linestyle=stroke(dash))
        ax.set_xticks(range(len(ticks)), ticks)
        ax.margins(x=0.05 if max(map(len, ticks)) < 4 else 0.12)
        ax.set_ylim(bottom=0)
        ax.grid(axis="x", visible=False)
        words(ax, x_label, y_label)

    return Chart(svg(name, f"{y_label} by {x_label}", plot), legend(lines))


def plain_chart(name: str, lines: Sequence[Line], x_label: str, y_label: str) -> Chart:
    """Draw lines over a plain axis; a line that has intervals shows them as a band."""

    def plot(ax: Axes) -> None:
        for line, (color, _) in zip(lines, PALETTE, strict=False):
            if line.low is not None and line.high is not None:
                ax.fill_between(line.x, line.low, line.high, color=color, alpha=0.16, linewidth=0)
        draw_lines(ax, lines)
        ax.margins(x=0.02, y=0.08)
        words(ax, x_label, y_label)

    return Chart(svg(name, f"{y_label} by {x_label}", plot), legend(lines))


def points_chart(name: str, groups: Sequence[Line], x_label: str, y_label: str) -> Chart:
    """Draw points in a plane, a colour for each group."""

    def plot(ax: Axes) -> None:
        for group, (color, _) in zip(groups, PALETTE, strict=False):
            ax.plot(group.x, group.y, "o", color=color, markersize=3, markeredgewidth=0, alpha=0.75)
        ax.margins(x=0.04, y=0.06)
        words(ax, x_label, y_label)

    return Chart(svg(name, f"{y_label} against {x_label}", plot), legend(groups) if len(groups) > 1 else [])


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
        ax.yaxis.set_major_formatter(lambda value, _: compact(value))
        words(ax, "time until the next event", "events")

    return Chart(svg(name, "events by time until the next event", plot), [])


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
        words(ax, "time to learn", y_label)

    named = [(point.name, disc(k, is_open=point.is_rival)) for k, point in enumerate(points)]
    return Chart(svg(name, f"{y_label} against time to learn", plot), named)
