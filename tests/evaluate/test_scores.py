"""The curves of a report, from a scores file, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from habitus.evaluate._scores import bins, precision_recall, read_scores, roc


@pytest.mark.parametrize(
    ("target", "labels"), [([0, 1], ["0", "1"]), ([1, 2], ["1", "2"]), ([False, True], ["false", "true"]),
                           ([2.0, 1.0], ["2", "1"]), (["no", "yes"], ["no", "yes"]), ([0, 1], [])]
)  # fmt: skip
def test_the_last_of_two_labels_is_the_one_that_holds(target, labels, tmp_path):
    pl.DataFrame({"risk": target, "probability": [0.1, 0.9]}).write_parquet(tmp_path / "scores.parquet")
    scores = read_scores(tmp_path / "scores.parquet", "risk", labels)
    assert scores.kind == "binary" and scores.truth[:, 0].tolist() == [False, True]


def test_curves_agree_with_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(3)
    truth, score = random.random(90) < 0.3, random.integers(0, 40, 90) / 40
    x, y, _ = sklearn.roc_curve(truth, score, drop_intermediate=False)
    np.testing.assert_allclose(np.stack(roc(truth, score)), np.stack([x, y]))
    precision, recall, _ = sklearn.precision_recall_curve(truth, score)
    given = np.stack(precision_recall(truth, score))
    expected = np.stack([recall, precision])[:, :-1][:, ::-1]
    np.testing.assert_allclose(given, expected[:, expected[0] > 0])


def test_thinned_curve_keeps_its_area():
    random = np.random.default_rng(4)
    score = random.normal(size=20_000)
    truth = random.random(20_000) < 1 / (1 + np.exp(-score))
    x, y = roc(truth, score)
    rank = np.argsort(np.argsort(score)) + 1
    auc = (rank[truth].sum() - truth.sum() * (truth.sum() + 1) / 2) / (truth.sum() * (~truth).sum())
    assert len(x) <= 242 and np.trapezoid(y, x) == pytest.approx(auc, abs=1e-3)


def test_bins_keep_equal_scores_together():
    found = bins(np.array([0, 1, 0, 1, 1, 0]) > 0, np.array([0.1, 0.1, 0.1, 0.1, 0.5, 0.9]), n_bins=3)
    assert [(one.n, one.n_true) for one in found] == [(4, 2), (2, 1)]
