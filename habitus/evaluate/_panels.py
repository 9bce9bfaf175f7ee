"""The panels of a report: what each chart and each derived table shows, computed from scores, history and data facts.

Every function returns plain values or finished charts under the names that the templates use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from habitus.evaluate import _scores as sc
from habitus.evaluate import _tables as tables
from habitus.evaluate import _words as words
from habitus.evaluate import charts
from habitus.evaluate._numbers import Estimate, number
from habitus.evaluate._words import Record

_MAX_LINES = 8  # in one chart


def curves(scores: sc.Scores | None, model_name: str) -> dict[str, Any]:
    """Draw ROC and precision-recall (a line for each model, or for each class where there are several), reliability."""
    if scores is None:
        return {"roc": None, "pr": None, "reliability": None}
    truth, ours, several = scores.truth, scores.models[sc.MODEL], scores.kind != "binary"
    drawn = [c for c in np.argsort(-truth.sum(axis=0), kind="stable") if 0 < truth[:, c].sum() < len(truth)]
    if several:
        pairs = [(scores.labels[c], truth[:, c], ours[:, c]) for c in drawn[:_MAX_LINES]]
    else:
        named = [(model_name if name == sc.MODEL else name, score) for name, score in scores.models.items()]
        pairs = [(name, truth[:, 0], score[:, 0]) for name, score in named[:_MAX_LINES]] if drawn else []
    reliability = charts.reliability_chart("reliability", _reliability_lines(scores))
    if not pairs:
        return {"roc": None, "pr": None, "reliability": reliability}
    rocs = [charts.Line(name, *sc.roc(true, score)) for name, true, score in pairs]
    prs = [charts.Line(name, *sc.precision_recall(true, score)) for name, true, score in pairs]
    rate = float(truth.mean())
    return {
        "roc": charts.rates_chart("roc", rocs, "false-positive rate", "true-positive rate", (0, 1)),
        "pr": charts.rates_chart("pr", prs, "recall", "precision", None if several else (rate, rate)),
        "reliability": reliability,
        "n_classes_left_out": len(scores.labels) - len(pairs) if several else 0,
    }


def _reliability_lines(scores: sc.Scores) -> list[charts.Line]:
    """Pool the classes: over all of them, a score of 0.2 should come true one time in five."""
    given = {"as scored": scores.models[sc.MODEL]}
    if scores.uncalibrated is not None and scores.uncalibrated.shape == scores.truth.shape:
        given = {"after calibration": scores.models[sc.MODEL], "before calibration": scores.uncalibrated}
    lines = []
    for name, score in given.items():
        binned = sc.bins(scores.truth.ravel(), score.ravel())
        points = (np.array([getattr(one, part) for one in binned]) for part in ("mean", "rate", "low", "high"))
        lines.append(charts.Line(name, *points))
    return lines


def bands(scores: sc.Scores | None) -> dict[str, Any]:
    """Cut the test examples into bands by score, highest first, with the running share of all that came true."""
    if scores is None:
        return {"bands": [], "scored": None}
    truth, score = scores.truth, scores.models[sc.MODEL]
    if scores.kind == "multi-class":  # the score of the answer given, and whether it was right
        given = score.argmax(axis=1)
        rows = np.arange(len(given))
        truth, score = truth[rows, given], score[rows, given]
    binned = sc.bins(truth.ravel(), score.ravel())[::-1]
    reached = np.cumsum([one.n_true for one in binned])
    top = max(one.high for one in binned)
    shares = reached / max(int(reached[-1]), 1)
    return {
        "bands": [
            {"bin": one, "reached": float(share), "scale": top} for one, share in zip(binned, shares, strict=True)
        ],
        "scored": scores,
    }


def calibration(metrics: Record) -> dict[str, Any] | None:
    """Return (metric, before, after) for each number given on both or either side of calibration."""
    given = tables.records(metrics, "calibration")
    before, after = tables.records(given, "before"), tables.records(given, "after")
    names = dict.fromkeys([*before, *after])
    rows = [(name, Estimate.read(before.get(name)), Estimate.read(after.get(name))) for name in names]
    rows = [row for row in rows if row[1] or row[2]]
    return {"method": given.get("method") or given.get("kind"), "rows": rows} if given else None


def confusion(metrics: Record, scores: sc.Scores | None) -> dict[str, Any] | None:
    given = dict(tables.records(metrics, "confusion")) or (sc.confusion(scores) if scores else {})
    matrix = given.get("matrix")
    if matrix:
        given["shares"] = [[cell / max(sum(row), 1) for cell in row] for row in matrix]
    return given if matrix or given.get("per_label") else None


def learning(history: Sequence[Record]) -> dict[str, Any]:
    """Draw losses and the validation metric, by epoch (by step where an epoch was looked at more than once)."""
    epochs = [row.get("epoch") for row in history]
    axis = "epoch" if len(set(epochs)) == len(epochs) else "step"
    rows = [row for row in history if number(row.get(axis)) is not None]
    best = words.best_epoch(rows)
    where = number(rows[best][axis]) if best is not None else None
    lines = {name: _history_line(rows, axis, name) for name in ("train_loss", "validation_loss", "validation_metric")}
    losses = [line for name in ("train_loss", "validation_loss") if (line := lines[name])]
    metric = lines["validation_metric"]
    named = next((str(row["monitor"]) for row in rows if row.get("monitor")), "metric")
    plain = named.removeprefix("negative ")
    label = f"validation {words.metric_name(plain)}" if plain in words.METRICS else "validation metric"  # our own words
    label += ", negated" if plain != named and plain in words.METRICS else ""
    return {
        "loss_chart": charts.learning_chart("loss", losses, axis, "loss", where) if losses else None,
        "metric_chart": charts.learning_chart("metric", [metric], axis, label, where) if metric else None,
        "best": rows[best] if best is not None else None,
        "axis": axis,
        "n_epochs": len(rows),
    }


def _history_line(rows: Sequence[Record], axis: str, name: str) -> charts.Line | None:
    points = [(number(row[axis]), y) for row in rows if (y := number(row.get(name))) is not None]
    return charts.Line(name.replace("_", " "), *np.array(points, float).T) if points else None


def cost(rows: Sequence[tables.Row], main: str | None) -> dict[str, Any]:
    """Draw the main metric against the time to learn, where a comparison timed at least two of the rows."""
    known = [(row, found) for row in rows if main and "seconds" in row.costs and (found := row.estimate(main))]
    if main is None or len(known) < 2:
        return {"cost_chart": None}
    points = [
        charts.Point(row.name, row.costs["seconds"], found.value, found.low, found.high, row.kind == "baseline")
        for row, found in known
    ]
    named = words.metric_name(main) if main in words.METRICS else "the main metric"  # our own words
    label = f"{named}, lower is better" if words.lower_is_better(main) else named
    return {"cost_chart": charts.cost_chart("cost", points, label)}


def lengths(data: Record) -> dict[str, Any]:
    lengths = tables.records(data, "lengths")
    histogram = tables.records(lengths, "histogram")
    edges, counts = (np.array(histogram.get(name) or [], float) for name in ("edges", "counts"))
    mean, n_examples = number(lengths.get("mean")), number(data.get("examples"))
    total = number(lengths.get("n_events"))  # an event before several cutoffs counts once for each example
    if total is None and mean is not None and n_examples is not None:
        total = mean * n_examples
    has_chart = len(counts) > 0 and len(edges) == len(counts) + 1
    longest = number(lengths.get("max_length"))
    chart = charts.lengths_chart("lengths", edges, counts, longest) if has_chart else None
    return {"lengths_chart": chart, "events_before_cut": total if total is not None else data.get("events")}


def commonest(data: Record) -> list[dict[str, Any]]:
    """Group the commonest values by field, each with the scale of its bars."""
    items = [item for item in data.get("commonest") or [] if isinstance(item, Mapping)]
    groups = []
    for name in dict.fromkeys(item.get("field") for item in items):
        own = [item for item in items if item.get("field") == name]
        shares, rates = ([number(item.get(key)) for item in own] for key in ("share", "rate_with"))
        scale, has_rate = max((share or 0 for share in shares), default=0), any(rate is not None for rate in rates)
        groups.append({"field": name, "values": own, "scale": scale, "has_rate_with": has_rate})
    return groups


def parts(data: Record) -> list[tuple[str, Record]]:
    """Return the parts of the split in the order of their use."""
    given = tables.records(tables.records(data, "split"), "parts")
    order = {"train": 0, "validation": 1, "test": 2}
    return [(name, tables.records(given, name)) for name in sorted(given, key=lambda name: order.get(name, 3))]
