"""The report of a run about numbers: its figures are counted here once more, and odd folders still make a page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from habitus.errors import DataError
from habitus.evaluate._number_scores import NumberScores, below_quantiles, groups, read_number_scores
from habitus.evaluate.report import write_report

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

EVIL = "<script>alert('x')</script>"


def folder_of(tmp_path: Path, n: int = 300, target: str = "spent", truth=None) -> Path:
    rng = np.random.default_rng(0)
    answer = rng.lognormal(3, 1, n)
    truth = answer * rng.lognormal(0, 0.5, n) if truth is None else truth
    pl.DataFrame({"user_id": range(n), target: truth, "prediction": answer, "bag": answer * 2}).write_parquet(
        tmp_path / "test_scores.parquet"
    )
    interval = {"value": 0.4, "low": 0.3, "high": 0.5}
    metrics = {
        "task": "regress", "target": target, "n": n, "split": "test", "primary": "r2", "quantiles": {},
        "meaning": f"the mean of `{target}`", "metrics": {"r2": interval, "mae": interval},
        "baselines": {"bag": {"r2": interval}}, "differences": {"model - bag": {"r2": interval}},
    }  # fmt: skip
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return tmp_path


def page_of(folder: Path) -> str:
    return write_report(folder).read_text("utf-8")


def test_a_page_has_its_charts_and_names(tmp_path):
    page = page_of(folder_of(tmp_path))
    assert page.count('<svg class="chart"') == 3
    for words in ("beats its best rival, bag, by 0.400 R²", "An answer is the mean of spent", "reached so far"):
        assert words in page, words
    assert 'id="confusion"' not in page and 'href="#confusion"' not in page


def test_the_same_files_give_the_same_bytes(tmp_path):
    folder = folder_of(tmp_path)
    assert page_of(folder) == page_of(folder)


def test_names_are_escaped(tmp_path):
    page = page_of(folder_of(tmp_path, target=EVIL))
    assert EVIL not in page and "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "truth", [np.zeros(300), np.r_[np.zeros(299), 1e9], -np.arange(300.0), np.r_[np.full(10, np.nan), np.ones(290)]]
)
def test_odd_targets_make_a_page(tmp_path, truth):
    page = page_of(folder_of(tmp_path, truth=truth))
    assert "Error by size of the answer" in page
    assert ("10 test rows had no target" in page) == bool(np.isnan(truth).any())
    assert ("reached so far" in page) == bool((np.nan_to_num(truth) >= 0).all() and np.nansum(truth) > 0)


def test_without_scores_the_page_says_so(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "test_scores.parquet").unlink()
    assert "test_scores.parquet is absent" in page_of(folder)
    (folder / "test_scores.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        page_of(folder)


def test_groups_equal_a_loop():
    rng = np.random.default_rng(1)
    answer, truth = rng.exponential(size=100), rng.exponential(size=100)
    found = groups(NumberScores(truth, answer, {}, 0))
    order = np.argsort(-answer)
    assert [one.n for one in found] == [10] * 10
    for k, one in enumerate(found):
        own = order[10 * k : 10 * k + 10]
        assert one.mean_answer == pytest.approx(answer[own].mean())
        assert one.mean_truth == pytest.approx(truth[own].mean())
        assert one.mae == pytest.approx(np.abs(answer[own] - truth[own]).mean())
        assert one.share == pytest.approx(truth[order[: 10 * k + 10]].sum() / truth.sum())
        assert one.low < one.mean_truth < one.high


def test_equal_answers_stay_together():
    assert [one.n for one in groups(NumberScores(np.arange(50.0), np.ones(50), {}, 0))] == [50]


def test_shares_below_quantiles_are_counted(tmp_path):
    frame = pl.DataFrame({"y": [1.0, 2.0, 3.0, 4.0], "prediction_q10": [0.0, 2, 0, 0], "prediction_q50": [2.5] * 4})
    frame.write_parquet(tmp_path / "s.parquet")
    scores = read_number_scores(tmp_path / "s.parquet", "y", {"q10": 0.1, "q50": 0.5})
    assert [(one["level"], one["share"]) for one in below_quantiles(scores)] == [(0.1, 0.25), (0.5, 0.5)]
    assert read_number_scores(tmp_path / "s.parquet", "z", {}) is None
