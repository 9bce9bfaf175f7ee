import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from habitus.evaluate.task_verdict import verdict
from habitus.metrics import Interval
from habitus.tasks.judged import JudgedTask


@dataclass(frozen=True)
class Near(JudgedTask):
    """Says how near numbers are; the interval is two standard errors of the mean."""

    name: ClassVar[str] = "near"
    monitor: ClassVar[str] = "error"
    lower_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = "numbers"
    target: str = "x"

    def metrics(self, truth, answer):
        return {"error": _mean(abs(truth - answer))}

    def differences(self, truth, answer, other):
        return {"error": _mean(abs(truth - answer) - abs(truth - other))}


class Far(Near):
    monitor: ClassVar[str] = "closeness"
    lower_is_better: ClassVar[bool] = False

    def metrics(self, truth, answer):
        return {"closeness": _mean(-abs(truth - answer))}

    def differences(self, truth, answer, other):
        return {"closeness": _mean(abs(truth - other) - abs(truth - answer))}


def _mean(values):
    spread = 2 * values.std() / len(values) ** 0.5
    return Interval(values.mean(), values.mean() - spread, values.mean() + spread)


def said(task, **errors):
    rng = np.random.default_rng(0)
    truth = np.zeros(400)
    answers = {name: error + rng.normal(0, 0.05, 400) for name, error in errors.items()}
    values = {name: task.metrics(truth, answer)[task.monitor].value for name, answer in answers.items()}
    return verdict(task, truth, answers, values, 400)


@pytest.mark.parametrize("task", [Near(), Far()])
def test_the_nearest_wins_whichever_way_the_metric_goes(task):
    assert re.match(
        r"one wins \(\w+ [-−]?0\.10., n = 400 numbers\): ahead of two, the next best", said(task, one=0.1, two=0.3)
    )


@pytest.mark.parametrize("task", [Near(), Far()])
def test_what_cannot_be_told_apart_is_a_tie(task):
    sentence = said(task, one=0.3, two=0.3, three=0.9)
    assert sentence.startswith("A tie: ") and "Behind them: three" in sentence


def test_one_model_stands_alone():
    assert said(Near(), one=0.1).startswith("one stands alone: error 0.1")
