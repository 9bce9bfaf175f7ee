"""What the rows of `text.py` are: a model fitted and judged, TF-IDF beside it, and the table that they make."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from habitus.errors import require
from habitus.metrics import Interval
from habitus.metrics.intervals import wilson
from habitus.training import ProgressBar

PAIRS = {"ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True}


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    metrics: Mapping[str, Interval]
    seconds: float
    cost: str = ""


def fitted(label: str, model: Any, train: pl.DataFrame, test: pl.DataFrame) -> Row:
    """Fit on a table and judge on another one."""
    model.fit(examples=train, callbacks=[ProgressBar()])
    began = time.monotonic()
    metrics = model.evaluate(examples=test, include_training=True).metrics
    result, network = model.result_, model.network_
    trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
    cost = f"{trained:,} of {result.parameters:,} trained ({trained / result.parameters:.1%})"
    cost += f", {result.peak_mib or 0:,.0f} MiB"
    cost += f", epoch {result.best_epoch} of {len(model.history_)}, judged in {time.monotonic() - began:.0f} s"
    print(f"{label}: accuracy {metrics['accuracy']}, {result.seconds:.0f} s, {cost}", flush=True)
    return Row(label, metrics, result.seconds, cost)


def tfidf(train: pl.DataFrame, test: pl.DataFrame, text: str, target: str, analyzer: str, only: int = 2) -> list[Row]:
    """Return TF-IDF + logistic regression of scikit-learn, with its defaults and with pairs of tokens beside."""
    texts = require("sklearn.feature_extraction.text", "baselines")
    linear, scores = require("sklearn.linear_model", "baselines"), require("sklearn.metrics", "baselines")
    rows = []
    tried: list[tuple[str, dict[str, Any], float]] = [("TF-IDF + LR", {}, 1.0), ("TF-IDF, pairs too + LR", PAIRS, 10.0)]
    for label, options, strength in tried[:only]:
        began = time.monotonic()
        counter = texts.TfidfVectorizer(analyzer=analyzer, **options)
        solver = linear.LogisticRegression(C=strength, max_iter=1000)
        solver.fit(counter.fit_transform(train[text].to_list()), train[target].to_list())
        answer = solver.predict(counter.transform(test[text].to_list()))
        right = int((answer == np.array(test[target].to_list())).sum())
        macro = float(scores.f1_score(test[target].to_list(), answer, average="macro"))
        metrics = {"accuracy": wilson(right, test.height), "f1": Interval(macro, math.nan, math.nan)}
        rows.append(Row(f"{label} ({analyzer})", metrics, time.monotonic() - began, f"C={strength:g}"))
    return rows


def report(name: str, rows: list[Row], n: int, metrics: list[str]) -> None:
    """Print a Markdown table."""
    print(f"\n### {name}\n\nn = {n:,} test examples, 95 % intervals; {torch.get_num_threads()} threads.\n")
    print("| | " + " | ".join(metrics) + " | seconds | cost |")
    print("|---" * (len(metrics) + 3) + "|")
    for row in rows:
        cells = [str(row.metrics.get(metric, "–")) for metric in metrics]
        print(f"| {row.name} | {' | '.join(cells)} | {row.seconds:.0f} | {row.cost} |")
    print(flush=True)
