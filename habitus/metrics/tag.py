"""Judge tags: of two labels, of several, and of entities in BIO tags; every interval by a bootstrap over sequences.

The events of one sequence are not independent, so that a resample draws whole sequences. A `Statistic` says what the
metrics are when each sequence counts with a weight; weights of 1 give the value, drawn counts a resample, and two
models see the same resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from habitus.metrics.intervals import (
    Floats,
    Interval,
    bootstrap_interval,
    log_odds_interval,
    resamples,
    wilson,
)
from habitus.metrics.measures import Measures
from habitus.metrics.outcome import read_outcome

Ints = NDArray[np.int64]
Statistic = Callable[[Floats], dict[str, Floats]]  # weights of sequences (b, n) -> metrics (b,)

BINARY = ("auc", "pr_auc", "log_loss", "accuracy")
_HELD = 2**21  # weights of events held at once, 16 MiB


def binary_statistic(truth: NDArray[np.bool_], probability: Floats, unit: Ints) -> Statistic:
    """Return AUC, average precision, log-loss and accuracy over events of two labels.

    Args:
        truth: (N,).
        probability: (N,) of the positive label.
        unit: (N,), the sequence of each event.

    >>> statistic = binary_statistic(np.array([False, True, True]), np.array([0.2, 0.6, 0.1]), np.array([0, 0, 1]))
    >>> {name: round(float(value[0]), 3) for name, value in statistic(np.array([[1.0, 1.0], [1.0, 0.0]])).items()}
    {'auc': 0.5, 'pr_auc': 0.833, 'log_loss': 1.012, 'accuracy': 0.667}
    """
    order = np.argsort(-probability, kind="stable")  # the rank metrics then gather nothing
    measures, unit = Measures(read_outcome(truth[order], probability[order]), 0.5), unit[order]

    def statistic(weights: Floats) -> dict[str, Floats]:
        lines = max(1, _HELD // max(len(unit), 1))
        parts = [measures.under(weights[i : i + lines, unit], BINARY) for i in range(0, len(weights), lines)]
        return {name: np.concatenate([part[name] for part in parts]) for name in BINARY}

    return statistic


def label_statistic(truth: Ints, predicted: Ints, unit: Ints, n_units: int) -> Statistic:
    """Return accuracy and macro-F1 over events of several labels.

    The macro-F1 is the mean over the labels that occur in truth or prediction, as scikit-learn has it.

    >>> statistic = label_statistic(np.array([0, 1, 2]), np.array([0, 1, 1]), np.array([0, 0, 1]), 2)
    >>> {name: round(float(value[0]), 3) for name, value in statistic(np.ones((1, 2))).items()}
    {'accuracy': 0.667, 'macro_f1': 0.556}
    """
    used, both = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    a, b, n = both[: len(truth)], both[len(truth) :], len(used)
    right = a == b
    hits, wanted, given = (_sums(unit, n_units, codes, n) for codes in (np.where(right, a, -1), a, b))

    def statistic(weights: Floats) -> dict[str, Floats]:
        tp, n_true, n_given = (weights @ part for part in (hits, wanted, given))
        with np.errstate(invalid="ignore"):
            f1 = 2 * tp / (n_true + n_given)  # NaN where a label does not occur in the resample
            mean = np.nansum(f1, axis=1) / (n_true + n_given > 0).sum(axis=1)
            return {"accuracy": tp.sum(axis=1) / n_true.sum(axis=1), "macro_f1": mean}

    return statistic


def entity_statistic(names: Sequence[str], truth: Ints, predicted: Ints, unit: Ints, n_units: int) -> Statistic:
    """Return F1, precision and recall of whole entities in BIO tags, and the accuracy of single tags.

    An entity is right if its type, first and last token are; a stray `I-x` begins one, as in the conlleval script
    (Tjong Kim Sang and Buchholz 2000, https://aclanthology.org/W00-0726) and in seqeval.

    >>> names = ("B-x", "I-x", "O")
    >>> statistic = entity_statistic(names, np.array([0, 1, 2, 0]), np.array([0, 1, 0, 2]), np.zeros(4, int), 1)
    >>> {name: float(value[0]) for name, value in statistic(np.ones((1, 1))).items()}
    {'f1': 0.5, 'precision': 0.5, 'recall': 0.5, 'accuracy': 0.5}
    """
    first, kind, last = entities(names, truth, unit)
    other_first, other_kind, other_last = entities(names, predicted, unit)
    place = np.searchsorted(other_first, first)
    place = np.minimum(place, max(len(other_first) - 1, 0))
    found = np.zeros(len(first), dtype=bool)
    if len(other_first):
        found = (other_first[place] == first) & (other_last[place] == last) & (other_kind[place] == kind)
    tokens, right = np.ones(len(unit)), (truth == predicted).astype(float)
    counted = [(unit[first], found), (unit[first], None), (unit[other_first], None), (unit, right), (unit, tokens)]
    sums = np.stack([np.bincount(at, weight, minlength=n_units) for at, weight in counted], axis=1)

    def statistic(weights: Floats) -> dict[str, Floats]:
        hits, n_true, n_given, n_right, n = (weights @ sums).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "f1": np.nan_to_num(2 * hits / (n_true + n_given)),
                "precision": np.nan_to_num(hits / n_given),
                "recall": hits / n_true,
                "accuracy": n_right / n,
            }

    return statistic


def entities(names: Sequence[str], codes: Ints, unit: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the entities that BIO tags mark: positions of their first tokens, their types, positions of their last.

    >>> [part.tolist() for part in entities(("B-x", "I-x", "O"), np.array([0, 1, 2, 1]), np.zeros(4, int))]
    [[0, 3], [0, 0], [1, 3]]
    """
    types = {name[2:]: number for number, name in reversed(list(enumerate(names))) if name[1:2] == "-"}
    kind_of = np.array([types.get(name[2:], -1) if name[1:2] == "-" else -1 for name in names] or [-1])
    begins_of = np.array([name.startswith("B-") for name in names] or [False])
    kind, begins = kind_of[codes], begins_of[codes]
    before = np.concatenate([[-1], kind[:-1]])
    is_first_token = np.ones(len(unit), dtype=bool)
    is_first_token[1:] = unit[1:] != unit[:-1]
    starts = (kind >= 0) & (begins | is_first_token | (before != kind))
    goes_on = np.concatenate([(kind[1:] >= 0) & ~starts[1:], [False]])[: len(kind)]
    first, last = np.flatnonzero(starts), np.flatnonzero((kind >= 0) & ~goes_on)
    return first, kind[first], last


def intervals(statistic: Statistic, n_units: int, *, n_bootstrap: int = 500, seed: int = 0) -> dict[str, Interval]:
    """Return every metric of a statistic with its 95 % interval; see `differences` for two models."""
    values = statistic(np.ones((1, n_units)))
    drawn = _joined(statistic(weights) for weights in resamples(n_units, n_bootstrap, seed))
    none = np.zeros(0)
    return {name: _interval(name, float(value[0]), drawn.get(name, none), n_units) for name, value in values.items()}


def differences(
    first: Statistic, second: Statistic, n_units: int, *, n_bootstrap: int = 500, seed: int = 0
) -> dict[str, Interval]:
    """Return every metric of the first model minus that of the second, on the same resamples of sequences."""

    def difference(weights: Floats) -> dict[str, Floats]:
        of_first, of_second = first(weights), second(weights)
        return {name: of_first[name] - of_second[name] for name in of_first}

    values = difference(np.ones((1, n_units)))
    drawn = _joined(difference(weights) for weights in resamples(n_units, n_bootstrap, seed))
    none = np.zeros(0)
    return {name: bootstrap_interval(float(value[0]), drawn.get(name, none)) for name, value in values.items()}


def value_of(statistic: Statistic, name: str, n_units: int) -> float:
    """Return one metric, without an interval."""
    return float(statistic(np.ones((1, n_units)))[name][0])


def _sums(unit: Ints, n_units: int, codes: Ints, n_codes: int) -> Floats:
    """Count codes by unit, (n_units, n_codes); negative ones are not counted."""
    kept = codes >= 0
    counts = np.bincount(unit[kept] * n_codes + codes[kept], minlength=n_units * n_codes)
    return counts.reshape(n_units, n_codes).astype(np.float64)


def _joined(blocks: Iterator[dict[str, Floats]]) -> dict[str, Floats]:
    parts = list(blocks)
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else {})}


def _interval(name: str, value: float, draws: Floats, n_units: int) -> Interval:
    if name == "pr_auc":
        return log_odds_interval(value, draws)
    if value == 1 and name != "log_loss":  # no resample of a flawless result has a flaw: the bootstrap says nothing
        return wilson(n_units, n_units)
    return bootstrap_interval(value, draws)
