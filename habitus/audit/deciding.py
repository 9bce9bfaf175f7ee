"""Does one thing alone decide the target: a value in the history, a number of it, or a profile field?

Judged on at most 50,000 examples, drawn at random, so that the pass over a large log stays in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from habitus.audit.bars import MIN_CLASS, Decides, judge_having, judge_number
from habitus.audit.case import EXAMPLE, Case, collect
from habitus.audit.leak import Leak, shown
from habitus.fields.category import Category, as_category_strings
from habitus.fields.number import as_floats

_MOST_EXAMPLES = 50_000
_MOST_NAMED = 5  # findings of one field; the strongest are named
_FOLDS = 5


def find_deciding(case: Case) -> list[Leak]:
    """Return what alone decides a class too well to be believed; nothing without a target."""
    if not case.labels or case.examples.height < 2 * MIN_CLASS:
        return []
    drawn = _draw(case.examples.height)
    labels = {name: truth[drawn] for name, truth in case.labels.items()}
    sample = case.examples[drawn]
    found = [leak for name in case.category_fields for leak in _values(case, sample, labels, name)]
    found += _numbers(case, sample, labels)
    for name in case.schema.profile:
        if name in sample.columns:
            found += _profile(sample[name], labels, is_category=isinstance(case.schema.profile[name], Category))
    return found


def best(judged: Sequence[Decides | None]) -> Decides | None:
    """Return the strongest of several judgements."""
    passed = [one for one in judged if one is not None]
    return max(passed, key=lambda one: (one.auc, one.n_with), default=None)


def _draw(n: int) -> np.ndarray:
    if n <= _MOST_EXAMPLES:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, _MOST_EXAMPLES, replace=False))


def _seen(case: Case, sample: pl.DataFrame, columns: list[str]) -> pl.LazyFrame:
    """Return the events that the sampled examples may see."""
    cutoffs = sample.select(case.schema.entity, case.schema.cutoff, EXAMPLE)
    return case.joined(cutoffs, columns).filter(pl.col(case.schema.time) < pl.col(case.schema.cutoff))


def _values(case: Case, sample: pl.DataFrame, labels: dict[str, np.ndarray], name: str) -> list[Leak]:
    """Judge the values of a category field by their presence in the history."""
    names = [f"_k{i}" for i in range(len(labels))]
    truth = pl.DataFrame({EXAMPLE: sample[EXAMPLE], **dict(zip(names, labels.values(), strict=True))})
    pairs = _seen(case, sample, [name]).select(EXAMPLE, name).drop_nulls(name).unique()
    counts = (
        pairs.join(truth.lazy(), on=EXAMPLE)
        .group_by(name)
        .agg(pl.len().alias("_n"), *(pl.col(one).sum() for one in names))
        .filter(pl.col("_n") >= MIN_CLASS)
    )
    found = []
    for row in collect(counts).rows():
        decides = _judge_row(row[1], row[2:], labels, sample.height)
        if decides:
            found.append((decides, row[0]))
    found.sort(key=lambda pair: (-pair[0].auc, str(pair[1])))
    return [_value_leak(name, value, decides) for decides, value in found[:_MOST_NAMED]]


def _judge_row(n_with: int, ks: Sequence[int], labels: dict[str, np.ndarray], n: int) -> Decides | None:
    totals = {label: int(truth.sum()) for label, truth in labels.items()}
    return best([judge_having(n_with, k, n, totals[label], label) for k, label in zip(ks, labels, strict=True)])


def _value_leak(name: str, value: Any, decides: Decides) -> Leak:
    subject = f"'{name}' = {shown(value)} before the cutoff nearly decides the target"
    advice = " It may be the outcome itself, or the cutoff may be set too late."
    numbers = {"field": name, "value": str(value), **decides.numbers()}
    return Leak("warning", "deciding-value", decides.sentence(subject) + advice, numbers)


def _numbers(case: Case, sample: pl.DataFrame, labels: dict[str, np.ndarray]) -> Iterator[Leak]:
    """Judge the mean, the least, the greatest and the presence of each number field in the history."""
    fields = case.number_fields
    if not fields:
        return
    asked = [
        expression.alias(f"{name}\0{kind}")
        for name in fields
        for kind, expression in (
            ("mean", pl.col(name).mean()),
            ("least", pl.col(name).min()),
            ("greatest", pl.col(name).max()),
            ("number of values", pl.col(name).count()),
        )
    ]
    table = collect(_seen(case, sample, fields).group_by(EXAMPLE).agg(asked))
    table = sample.select(EXAMPLE).join(table, on=EXAMPLE, how="left", maintain_order="left")
    for name in fields:
        leak = _number_leak(name, {kind: table[f"{name}\0{kind}"] for kind in _kinds(table, name)}, labels)
        if leak:
            yield leak


def _kinds(table: pl.DataFrame, name: str) -> list[str]:
    return [
        column.partition("\0")[2] for column in table.columns if column.partition("\0")[0] == name and "\0" in column
    ]


def _number_leak(name: str, columns: dict[str, pl.Series], labels: dict[str, np.ndarray]) -> Leak | None:
    judged = {
        kind: best([judge_number(_filled(values, kind), truth, label) for label, truth in labels.items()])
        for kind, values in columns.items()
    }
    passed = {kind: decides for kind, decides in judged.items() if decides}
    if not passed:
        return None
    kind = max(passed, key=lambda one: passed[one].auc)
    subject = f"The {kind} of '{name}' before the cutoff"
    sentence = passed[kind].sentence(subject) + " It may be written after the outcome is known."
    return Leak("warning", "deciding-number", sentence, {"field": name, "statistic": kind, **passed[kind].numbers()})


def _filled(values: pl.Series, kind: str) -> np.ndarray:
    return as_floats(values.fill_null(0) if kind == "number of values" else values)


def _profile(values: pl.Series, labels: dict[str, np.ndarray], *, is_category: bool) -> list[Leak]:
    """Judge a profile field: by its values, by whether it is missing, and by each category."""
    missing = values.is_null().to_numpy()
    judged = []
    for label, truth in labels.items():
        scores = _rates(as_category_strings(values), truth) if is_category else as_floats(values)
        judged.append(judge_number(scores, truth, label))
        judged.append(judge_having(int(missing.sum()), int(truth[missing].sum()), len(truth), int(truth.sum()), label))
    decides = best(judged)
    if decides is None and is_category:
        return _profile_values(values, labels)
    if decides is None:
        return []
    of_missing = "A missing profile field" if decides.rate_with is not None else "The profile field"
    sentence = decides.sentence(f"{of_missing} '{values.name}'") + " Leave it out unless it is known at the cutoff."
    return [Leak("warning", "deciding-profile", sentence, {"field": values.name, **decides.numbers()})]


def _profile_values(values: pl.Series, labels: dict[str, np.ndarray]) -> list[Leak]:
    columns = {f"_k{i}": truth for i, truth in enumerate(labels.values())}
    table = pl.DataFrame({"_value": as_category_strings(values), **columns}).drop_nulls("_value")
    counts = table.group_by("_value").agg(pl.len().alias("_n"), *(pl.col(name).sum() for name in columns))
    found = []
    for row in counts.filter(pl.col("_n") >= MIN_CLASS).sort("_value").rows():
        decides = _judge_row(row[1], row[2:], labels, len(values))
        if decides:
            subject = f"The profile field '{values.name}' = {shown(row[0])} nearly decides the target"
            sentence = decides.sentence(subject) + " Leave it out unless it is known at the cutoff."
            numbers = {"field": values.name, "value": row[0], **decides.numbers()}
            found.append(Leak("warning", "deciding-profile", sentence, numbers))
    return found[:_MOST_NAMED]


def _rates(values: pl.Series, truth: np.ndarray) -> np.ndarray:
    """Return for each row the share of the class among rows of its category in the other folds.

    Cross-fitted, so that a category with a row of its own (an id) does not seem to know the answer.
    """
    fold = np.random.default_rng(0).permutation(len(truth)) % _FOLDS
    frame = pl.DataFrame({"_value": values.fill_null("\0missing"), "_fold": fold, "_y": truth.astype(np.float64)})
    per_value, per_fold = ["_value"], ["_value", "_fold"]
    own_sum, own_n = pl.col("_y").sum().over(per_fold), pl.len().over(per_fold)
    total, n = pl.col("_y").sum().over(per_value), pl.len().over(per_value)
    prior = float(truth.mean())
    return frame.select((total - own_sum + prior) / (n - own_n + 1)).to_series().to_numpy()
