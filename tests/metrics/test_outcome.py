"""What cannot be judged gets a sentence."""

import numpy as np
import polars as pl
import pytest

from habitus.errors import DataError
from habitus.metrics import classification_metrics, degenerate_note
from habitus.metrics.outcome import read_outcome

THREE = np.full((2, 3), 1 / 3)


@pytest.mark.parametrize(
    ("target", "probability", "options", "sentence"),
    [
        ([0, 1], [0.1, np.nan], {}, "the first in row 1"),
        ([0, 1], [0.1, np.inf], {}, "NaN or infinite"),
        ([0, 1], [-0.1, 0.5], {}, "must lie between 0 and 1"),
        ([0, 1], [0.1, 1.5], {}, "must lie between 0 and 1"),
        ([0, 2], [0.1, 0.5], {}, "target holds 2"),
        ([0, np.nan], [0.1, 0.5], {}, "leave out the rows"),
        ([0, 0.5], [0.1, 0.5], {}, "target holds 0.5"),
        (["a", "b"], [0.1, 0.5], {}, "class numbers 0 to 1"),
        ([0, 1], ["a", "b"], {}, "give numbers"),
        ([0, 1, 1], [0.1, 0.5], {}, r"must be \(2,\)"),
        ([0, 1], [[0.9, 0.1], [0.5, 0.5]], {}, "the positive class only"),
        ([0, 1], [0.1, 0.5], {"n_classes": 3}, r"give \(n, 3\)"),
        ([0, 3], THREE, {"n_classes": 3}, "target holds 3"),
        ([0, 1], THREE * 2, {"n_classes": 3}, "the probabilities of row 0 sum to 2"),
        ([0, 1], THREE, {"multi_label": True}, r"must be \(2, 3\)"),
        ([0, 1], [0.1, 0.2], {"multi_label": True}, "number of labels"),
    ],
)
def test_input_that_cannot_be_judged_gets_a_sentence(target, probability, options, sentence):
    with pytest.raises(DataError, match=sentence):
        classification_metrics(target, probability, **options)


def test_lists_series_booleans_and_float32_are_the_same_input():
    expected = classification_metrics([0, 1, 1], [0.25, 0.5, 0.75], n_bootstrap=0)["auc"]
    for target in ([False, True, True], np.array([0.0, 1.0, 1.0]), pl.Series([0, 1, 1])):
        for probability in (np.array([0.25, 0.5, 0.75], dtype=np.float32), pl.Series([0.25, 0.5, 0.75])):
            assert classification_metrics(target, probability, n_bootstrap=0)["auc"] == expected


def test_softmax_rows_of_float16_are_accepted():
    probability = np.random.default_rng(0).dirichlet(np.ones(5), 100).astype(np.float16)
    assert read_outcome(np.zeros(100), probability, n_classes=5).n == 100


def test_what_the_caller_passed_in_is_left_alone():
    target, probability = np.array([0, 1, 0]), np.array([0.3, 0.2, 0.9])
    classification_metrics(target, probability, n_bootstrap=5)
    assert target.tolist() == [0, 1, 0] and probability.tolist() == [0.3, 0.2, 0.9]


def test_notes_say_why_metrics_are_undefined():
    assert degenerate_note([0, 1, 1]) is None
    assert "All 2 rows are of class 1" in str(degenerate_note([1, 1]))
    assert "1 rows cannot be judged" in str(degenerate_note([1]))
    assert "Classes 2 are" in str(degenerate_note([0, 1], n_classes=3))
    assert "Labels 1 are" in str(degenerate_note([[0, 1], [1, 1]], multi_label=True))
    assert degenerate_note([[0, 1], [1, 0]], multi_label=True) is None
