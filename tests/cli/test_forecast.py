"""`habitus fit forecast`, `evaluate` and `predict` on a small table, and what is refused."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from typer.testing import CliRunner

from habitus.cli import app, main

QUICK = ["--epochs", "1", "--quiet", "--set", "options.windows_per_epoch=60", "--set", "backbone.hidden_size=8"]
QUICK += ["--set", 'options.baselines=["last value"]']


def table(folder):
    hours = np.arange(160)
    times = [datetime(2024, 1, 1) + timedelta(hours=int(hour)) for hour in hours]
    load = 5 + np.sin(2 * np.pi * hours / 24)
    path = folder / "series.csv"
    pl.DataFrame({"when": times, "load": load, "noise": hours % 7}).write_csv(path)
    return str(path)


def run(*words):
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_fit_evaluate_and_predict_agree(tmp_path):
    path, out = table(tmp_path), str(tmp_path / "run")
    reading = ["--time", "when", "--time-zone", "UTC", "--value", "load", "--horizon", "4", "--context", "24"]
    fitted = json.loads(run("fit", "forecast", "--events", path, *reading, "--out", out, "--json", *QUICK))
    assert fitted["unit"] == "origins" and {"mase", "mse", "mae", "crps"} <= set(fitted["metrics"])
    judged = json.loads(run("evaluate", out, "--json"))
    assert judged["n"] == fitted["n"] and judged["metrics"] == fitted["metrics"]
    run("predict", out, "--events", path, "--out", str(tmp_path / "p.csv"))
    answers = pl.read_csv(tmp_path / "p.csv", try_parse_dates=True)
    assert answers.height == 4 and answers.columns[:3] == ["series", "when", "prediction"]
    assert answers["when"][0].replace(tzinfo=UTC) == datetime(2024, 1, 7, 16, tzinfo=UTC)
    assert (tmp_path / "run" / "report.html").read_text("utf-8").count("A forecast of load") == 1


def test_naive_times_and_wrong_columns_are_refused_with_a_sentence(tmp_path, capsys):
    path = table(tmp_path)
    assert main(["fit", "forecast", "--events", path, "--time", "when", "--out", str(tmp_path / "run")]) == 1
    assert "--time-zone UTC" in capsys.readouterr().err.replace("\n", " ")
    words = ["--time", "when", "--time-zone", "UTC", "--value", "lod", "--out", str(tmp_path / "run")]
    assert main(["fit", "forecast", "--events", path, *words]) == 1
    assert "did you mean 'load'" in capsys.readouterr().err.replace("\n", " ")
