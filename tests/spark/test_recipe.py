"""The recipe's whole path, small: a cluster starts, everybody is scored, the report counts them."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from habitus.errors import HabitusError
from habitus.spark.session import check_java

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_recipe_scores_everybody_and_counts_them_by_band(tmp_path):
    try:
        check_java()
    except HabitusError as error:
        pytest.skip(str(error))
    words = ["--users", "300", "--train-users", "300", "--epochs", "1", "--out", str(tmp_path), "--quiet"]
    script = str(ROOT / "recipes" / "risk_on_spark" / "run.py")
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((tmp_path / "result.json").read_text())
    labels = pl.read_parquet(tmp_path / "data" / "labels" / "*.parquet")
    assert sum(one["n"] for one in facts["bands"]) == facts["scored"] == labels.height
    assert list(facts["seconds"]) == ["simulate", "prepare and train", "score", "bands"]
    report = (tmp_path / "report.html").read_text()
    assert "<svg" in report and f"{labels.height:,} examples" in report
    bands = pl.read_parquet(tmp_path / "bands" / "**" / "*.parquet", hive_partitioning=True)
    high = bands.filter(pl.col("band") == "high")
    assert high.height == next(one["n"] for one in facts["bands"] if one["band"] == "high")
    assert (high["probability"] >= 0.5).all()
