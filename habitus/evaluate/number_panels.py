"""The panels of a report about numbers: answers against truth, the mean in groups, residuals, error by size."""

from __future__ import annotations

from typing import Any

import numpy as np

from habitus.evaluate import _number_scores as ns
from habitus.evaluate import _tables as tables
from habitus.evaluate._drawing import MUTED, PALETTE, Chart, compact, svg, words
from habitus.evaluate._numbers import number
from habitus.evaluate._page import Run

_MOST_POINTS = 1_200
_BINS = 40
_HEAVY = 8.0  # the largest number over the 90th percentile, from which an axis is logarithmic


def number_context(run: Run) -> dict[str, Any]:
    """Return what the template shows of a run about numbers; `numbers` is None where there is no file of scores."""
    levels = {
        str(end): level for end, value in tables.records(run.metrics, "quantiles").items() if (level := number(value))
    }
    path = run.folder / "test_scores.parquet"
    scores = ns.read_number_scores(path, str(run.metrics.get("target") or "target"), levels)
    if scores is None:
        return {"is_number": True, "numbers": None}
    grouped = ns.groups(scores)
    return {
        "is_number": True,
        "numbers": {
            "n": len(scores.truth),
            "n_drawn": min(len(scores.truth), _MOST_POINTS),
            "n_unusable": scores.n_unusable,
            "meaning": run.metrics.get("meaning"),
            "scatter": scatter_chart(scores),
            "means": means_chart(grouped),
            "residuals": residuals_chart(scores),
            "groups": grouped,
            "has_shares": all(np.isfinite(one.share) for one in grouped) and bool((scores.truth >= 0).all()),
            "below": ns.below_quantiles(scores),
        },
    }


def scatter_chart(scores: ns.NumberScores) -> Chart:
    """Draw the truth against the answer, a disc an example; a right answer is on the diagonal."""
    chosen = np.random.default_rng(0).permutation(len(scores.truth))[:_MOST_POINTS]
    x, y = scores.answer[chosen], scores.truth[chosen]

    def plot(ax: Any) -> None:
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        ax.plot([low, high], [low, high], color=MUTED, linewidth=0.9, dashes=(1, 2))
        ax.plot(x, y, "o", markersize=2.6, color=PALETTE[0][0], alpha=0.35, markeredgewidth=0)
        if is_heavy(y):
            step = _linear_part(y)
            ax.set_xscale("symlog", linthresh=step)
            ax.set_yscale("symlog", linthresh=step)
            ax.minorticks_off()
        _compact_axes(ax)
        words(ax, "answer", "truth")

    return Chart(svg("scatter", "truth against answer", plot), [])


def means_chart(groups: list[ns.Group]) -> Chart:
    """Draw the mean truth of each group against its mean answer, with intervals."""
    x, y = np.array([one.mean_answer for one in groups]), np.array([one.mean_truth for one in groups])
    ends = np.array([[one.low, one.high] for one in groups])

    def plot(ax: Any) -> None:
        known = np.isfinite(ends).all(axis=1)
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        ax.plot([low, high], [low, high], color=MUTED, linewidth=0.9, dashes=(1, 2))
        ax.vlines(x[known], *ends[known].T, color=PALETTE[0][0], linewidth=1.2, alpha=0.55)
        ax.plot(x, y, color=PALETTE[0][0], linewidth=1.3, marker="o", markersize=4)
        _compact_axes(ax)
        words(ax, "mean answer of the group", "mean truth")

    return Chart(svg("means", "mean truth against mean answer", plot), [])


def residuals_chart(scores: ns.NumberScores) -> Chart:
    """Draw how many answers were how far off; the outermost bars hold the half percent beyond them."""
    error = scores.answer - scores.truth
    low, high = np.quantile(error, [0.005, 0.995])
    low, high = (low, high) if low < high else (low - 0.5, low + 0.5)
    counts, edges = np.histogram(np.clip(error, low, high), bins=_BINS, range=(float(low), float(high)))

    def plot(ax: Any) -> None:
        ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color=PALETTE[0][0], edgecolor="white", linewidth=0.5)
        ax.axvline(0, color=MUTED, linewidth=1.1, dashes=(4, 3))
        ax.grid(axis="x", visible=False)
        ax.margins(x=0.01)
        _compact_axes(ax)
        words(ax, "answer less truth", "examples")

    return Chart(svg("residuals", "examples by answer less truth", plot), [])


def is_heavy(values: np.ndarray) -> bool:
    """Say whether a few numbers are so large that the rest would lie in a corner.

    >>> is_heavy(np.arange(100.0)), is_heavy(np.r_[np.ones(99), 1e6])
    (False, True)
    """
    size = np.abs(values)
    return bool(size.max() > _HEAVY * max(float(np.quantile(size, 0.9)), 1e-12))


def _linear_part(values: np.ndarray) -> float:
    """Return up to where a logarithmic axis is linear: the power of ten at or below the middle of what is not 0."""
    size = np.abs(values[values != 0])
    return float(10.0 ** np.floor(np.log10(np.median(size))))


def _compact_axes(ax: Any) -> None:
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda value, _: compact(value))
