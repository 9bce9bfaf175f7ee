"""How many labels does it take? Models fitted on shares of the training labels, judged on the same test examples.

Of the training and of the validation part a share of the ENTITIES keeps its labels, drawn anew by each seed; a smaller
share is part of a larger one. All histories of the training part are read to learn vocabularies, because they need no
label, alike for every model; rivals, linear paths, early stopping and calibration see the labels that are left.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from habitus.errors import ConfigError, DataError
from habitus.metrics import Interval
from habitus.model import LabelledModel
from habitus.model.start import Start
from habitus.prepared import Prepared
from habitus.tasks import Task
from habitus.training import Callback

UNLABELLED = "unlabelled"
_T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}  # Student's t
_NORMAL = 1.959964


@dataclass(frozen=True)
class Contender:
    """A model of a label curve.

    Args:
        make: gives a model, not fitted, for a seed.
        prepared: the rows that it reads; every contender's hold the same examples.
        start: a pretrained bundle that it goes on from, or None.
    """

    make: Callable[[int], LabelledModel]
    prepared: Prepared
    start: Start | None = None


def read_shares(text: str) -> list[float]:
    """Return shares written as "1%,5%,100%" or "0.01,0.05,1", ascending, each once.

    >>> read_shares("5%, 100%,0.2")
    [0.05, 0.2, 1.0]
    """
    shares = set()
    for word in text.split(","):
        number, is_percent = word.strip().removesuffix("%"), word.strip().endswith("%")
        try:
            share = float(number) / (100 if is_percent else 1)
        except ValueError:
            share = math.nan
        if not 0 < share <= 1:
            raise ConfigError(f"labels={text!r}: '{word.strip()}' is no share; write for example 1%,5%,20%,100%.")
        shares.add(share)
    return sorted(shares)


def labelled_part(prepared: Prepared, share: float, seed: int) -> np.ndarray:
    """Return the part of each example when a share of the entities of training and of validation keeps its labels.

    Args:
        prepared: all examples.
        share: above 0, at most 1.
        seed: of the draw; with one seed a smaller share is part of a larger one.

    Raises:
        DataError: if fewer than two entities of a part would keep theirs.
    """
    part, entity = prepared.part.astype("<U10"), prepared.entity_codes()
    for name in ("train", "validation"):
        own = np.unique(entity[part == name])
        n_kept = math.ceil(share * len(own))
        if n_kept < 2:
            raise DataError(
                f"{share:.3%} of the {len(own):,} entities of the {name} part are too few to learn from; use a larger "
                "share of the labels."
            )
        kept = np.random.default_rng([seed, name == "train"]).permutation(own)[:n_kept]
        part[(part == name) & ~np.isin(entity, kept)] = UNLABELLED
    return part


def run_curve(
    task: Task,
    contenders: Mapping[str, Contender],
    shares: Sequence[float],
    seeds: Sequence[int],
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit every contender and the rivals on every share with every seed.

    Args:
        task: with its classes, or its scale, learned.
        contenders: by name; the rivals are fitted on the rows of the first.
        shares: of the labels, ascending.
        seeds: each draws labels, initial weights and batches anew.
        callbacks: watch the training of a contender.

    Returns:
        What is told of the curve, as plain data; and the answers, by share, name and seed.
    """
    answers: dict[float, dict[str, list[np.ndarray]]] = {share: {} for share in shares}
    counts: dict[float, list[dict[str, int]]] = {share: [] for share in shares}
    first = next(iter(contenders.values()))
    _, target = _test(first.prepared)
    for share in shares:
        for seed in seeds:
            part = labelled_part(first.prepared, share, seed)
            counts[share].append({name: int((part == name).sum()) for name in ("train", "validation")})
            for name, contender in contenders.items():
                model, found = _fit(contender, part, seed, contender is first, callbacks(f"{name}, {share:g}, {seed}"))
                answers[share].setdefault(name, []).append(found["model"])
                for rival in model.baselines_ if contender is first else ():
                    answers[share].setdefault(rival.name, []).append(found[rival.name])
    values = {
        share: {name: [task.monitor_value(target, one) for one in each] for name, each in found.items()}
        for share, found in answers.items()
    }
    document = {
        "primary": task.monitor,
        "n": len(target),
        "seeds": list(seeds),
        "shares": [
            {
                "share": share,
                "labels": counts[share],
                "models": {name: _summary(found) for name, found in values[share].items()},
                "differences": _differences(task, target, answers[share], values[share], list(contenders)),
            }
            for share in shares
        ],
    }
    return document, {"target": target, "answers": answers}


def _fit(
    contender: Contender, part: np.ndarray, seed: int, with_rivals: bool, callbacks: Sequence[Callback]
) -> tuple[LabelledModel, dict[str, np.ndarray]]:
    """Fit a contender on the labels that are left, and answer the test examples."""
    prepared = contender.prepared
    few = replace(prepared, part=np.where(part == "test", "left-out", part))  # judged here, all models at once
    model = contender.make(seed)
    model.task = copy.deepcopy(model.task)
    model.fit_prepared(few, rivals=None if with_rivals else [], start=contender.start, callbacks=callbacks)
    rows, target = _test(prepared)
    return model, model.answers(rows, len(target))


def _test(prepared: Prepared) -> tuple[Any, np.ndarray]:
    """Return the rows of the test part, numbered from 0, and the targets of its examples."""
    is_test = prepared.part == "test"
    rows = prepared.rows("test")
    rows = replace(rows, example=(np.cumsum(is_test) - 1)[rows.example])
    target = np.empty((int(is_test.sum()), *rows.labels.shape[1:]), rows.labels.dtype)
    target[rows.example] = rows.labels
    return rows, target


def _summary(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean over seeds, its interval over seeds alone, and each value."""
    low, high = over_seeds(values)
    return {"value": float(np.mean(values)), "low": low, "high": high, "each": [float(one) for one in values]}


def over_seeds(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the ends of the 95 % interval of the mean over seeds, by Student's t; None with one seed.

    >>> over_seeds([0.7, 0.7, 0.7]), over_seeds([0.7])
    ((0.7, 0.7), (None, None))
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return None, None
    half = _t(n) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return round(mean - half, 12), round(mean + half, 12)


def _differences(
    task: Task,
    target: np.ndarray,
    answers: Mapping[str, Sequence[np.ndarray]],
    values: Mapping[str, Sequence[float]],
    contenders: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Return the last contender minus every other model and rival, paired on examples and seeds."""
    ours = contenders[-1]
    found = {}
    for other in [name for name in answers if name != ours]:
        paired = [
            task.differences(target, a, b)[task.monitor] for a, b in zip(answers[ours], answers[other], strict=True)
        ]
        each = [a - b for a, b in zip(values[ours], values[other], strict=True)]
        found[f"{ours} - {other}"] = {**paired_interval(paired).to_json(), "each": [float(one) for one in each]}
    return found


def paired_interval(paired: Sequence[Interval]) -> Interval:
    """Return the mean difference with a 95 % interval that covers the draw of labels, the seeds and the test examples.

    The half-widths of both sources are added as squares: Student's t over the seeds, and the mean over seeds of the
    paired interval on the test examples, which all seeds share, so that more seeds do not narrow it.

    >>> print(paired_interval([Interval(0.02, 0.0, 0.04), Interval(0.02, 0.0, 0.04)]))
    0.0200 [0.0000, 0.0400]
    """
    values = [one.value for one in paired]
    examples = float(np.mean([(one.high - one.low) / 2 for one in paired]))
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values)) * _t(len(values)) if len(values) > 1 else 0.0
    mean, half = float(np.mean(values)), math.hypot(examples, spread)
    return Interval(mean, mean - half, mean + half)


def _t(n: int) -> float:
    return _T_975.get(n - 1, _NORMAL + 2.4 / max(n - 1, 1))
