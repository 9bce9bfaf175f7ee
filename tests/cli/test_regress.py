"""From a log of purchases to predicted amounts, through the commands a person would type, with a tiny backbone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from habitus.cli import main

pytest.importorskip("torch")
pytest.importorskip("lightgbm")
pytest.importorskip("matplotlib")

CONFIG = """
[backbone]
hidden_size = 8
[training]
epochs = 1
threads = 1
"""
START, CUTOFF = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)


def write_purchases(folder: Path, n: int = 240) -> None:
    """Purchases of n customers, and what each spends after the cutoff: much like what they spent before."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(n), rng.integers(1, 9, n))
    amount = np.round(rng.lognormal(3, 1, len(who)), 2)
    before = np.bincount(who, weights=amount, minlength=n)
    pl.DataFrame(
        {
            "user_id": [f"u{k}" for k in who],
            "timestamp": [START + timedelta(minutes=m) for m in rng.integers(0, 90 * 1440, len(who)).tolist()],
            "shop": rng.choice(["web", "store"], len(who)),
            "amount": amount,
        }
    ).write_parquet(folder / "purchases.parquet")
    later = np.where(rng.random(n) < 0.2, 0, before * rng.lognormal(0, 0.3, n))
    pl.DataFrame({"user_id": [f"u{k}" for k in range(n)], "cutoff": [CUTOFF] * n, "spent": later}).write_parquet(
        folder / "amounts.parquet"
    )


class Workplace:
    def __init__(self, folder: Path) -> None:
        self.folder, self.run, self.config = folder, folder / "run", str(folder / "tiny.toml")
        self.data = ["--events", str(folder / "purchases.parquet"), "--examples", str(folder / "amounts.parquet")]
        self.fit = ["fit", "regress", *self.data, "--config", self.config, "--quiet"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("regress"))
    Path(place.config).write_text(CONFIG, encoding="utf-8")
    write_purchases(place.folder)
    options = ["--loss", "quantile", "--quantile", "0.25", "--quantile", "0.5", "--quantile", "0.75", "--log"]
    assert main([*place.fit, "--target", "spent", *options, "--out", str(place.run)]) == 0
    return place


def test_the_run_folder_says_what_it_is_worth(place):
    metrics = json.loads((place.run / "metrics.json").read_text("utf-8"))
    assert metrics["task"] == "regress" and metrics["primary"] == "pinball"
    assert set(metrics["baselines"]) == {"constant", "bag + ridge regression", "bag + LightGBM"}
    assert {"mae", "rmse", "r2", "median_absolute_error", "bias", "pinball", "coverage_50"} == set(metrics["metrics"])
    assert metrics["quantiles"] == {"q25": 0.25, "q50": 0.5, "q75": 0.75}
    assert all("pinball" in found for found in metrics["differences"].values())
    data = json.loads((place.run / "data.json").read_text("utf-8"))
    assert data["split"]["parts"]["test"]["target_mean"] > 0
    card = (place.run / "model" / "README.md").read_text("utf-8")
    assert "the quantiles 0.25, 0.5, 0.75 of `spent`" in card and "pinball" in card
    assert pl.read_parquet(place.run / "test_scores.parquet").columns[:6] == [
        "user_id", "cutoff", "spent", "prediction_q25", "prediction_q50", "prediction_q75",
    ]  # fmt: skip


def test_predict_writes_amounts_in_their_unit(place, tmp_path):
    out = tmp_path / "scores.parquet"
    assert main(["predict", str(place.run), "--events", place.data[1], "--out", str(out)]) == 0
    scores = pl.read_parquet(out)
    assert scores.columns == [
        "user_id", "cutoff", "prediction", "prediction_q25", "prediction_q50", "prediction_q75",
    ]  # fmt: skip
    assert scores.height == 240 and (scores["prediction"] >= 0).all()
    assert (scores["prediction_q25"] <= scores["prediction_q75"]).all()
    assert (scores["prediction"] == scores["prediction_q50"]).all()


def test_evaluate_leaves_out_what_was_trained_on(place, capsys):
    assert main(["evaluate", str(place.run), *place.data, "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    own = json.loads((place.run / "metrics.json").read_text("utf-8"))
    assert document["n"] == own["n"]
    for name, interval in own["metrics"].items():  # other company in a batch moves the last digits
        assert document["metrics"][name] == pytest.approx(interval, rel=1e-5)
    assert "are left out" in captured.err


def test_the_report_shows_answers_and_truth(place):
    assert main(["report", str(place.run)]) == 0
    page = (place.run / "report.html").read_text("utf-8")
    for words in (
        "Truth against answer",
        "The mean in groups",
        "How far off",
        "Error by size of the answer",
        "Quantiles",
    ):
        assert words in page, words
    assert "Right and wrong answers" not in page and "target true" not in page and "ROC" not in page


def test_compare_says_who_wins_or_that_it_is_a_tie(place, tmp_path, capsys):
    out = tmp_path / "compare"
    command = ["compare", "regress", *place.data, "--target", "spent", "--loss", "absolute", "--out", str(out)]
    assert main([*command, "--backbones", "gru,rnn", "--epochs", "1", "--threads", "1", "--quiet", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["models"])[:2] == ["GRU", "RNN"] and document["primary"] == "mae"
    assert "MAE" in document["verdict"] and ("A tie" in document["verdict"] or "wins" in document["verdict"])
    scores = pl.read_parquet(out / "test_scores.parquet")
    assert {"prediction", "RNN", "constant", "bag + LightGBM"} <= set(scores.columns)
    assert "Truth against answer" in (out / "report.html").read_text("utf-8")


def test_each_model_of_a_comparison_keeps_its_own_factor(place, tmp_path):
    """The factor from logarithms to means belongs to a model; the task is shared."""
    from habitus.model import load

    out = tmp_path / "compare"
    command = ["compare", "regress", *place.data, "--target", "spent", "--log", "--out", str(out), "--quiet"]
    assert main([*command, "--backbones", "gru,rnn", "--epochs", "1", "--set", "options.baselines=[]"]) == 0
    one, other = load(out).calibration_, load(out / "rnn").calibration_
    assert one.kind == other.kind == "mean factor" and one != other


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--target", "spend"], "spend"),
        ([], "No target is given"),
        (["--target", "spent", "--quantile", "0.5"], "are of the loss 'quantile'"),
        (["--target", "spent", "--set", "task.lost=squared"], "Unknown option 'lost'"),
        (["--target", "spent", "--set", "options.calibration=platt"], "leave it out for numbers"),
        (["--target", "spent", "--set", "options.baselines=['most frequent']"], "not for the task 'regress'"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(place, tmp_path, capsys, options, sentence):
    code = main([*place.fit, *options, "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert code in (1, 2) and sentence in error and "Traceback" not in error and "unexpected" not in error, error
