"""What docs/regress.md shows runs, on a small log of purchases."""

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from habitus.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "regress.md"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the files that the page names: what is spent later is about what was spent before."""
    monkeypatch.chdir(tmp_path)
    rng, n, start = np.random.default_rng(0), 200, datetime(2024, 1, 1, tzinfo=UTC)
    who = np.repeat(np.arange(n), rng.integers(1, 7, n))
    dollars = rng.lognormal(3, 1, len(who)).round(2)
    minutes = rng.integers(0, 90 * 1440, len(who)).tolist()
    when = [start + timedelta(minutes=one) for one in minutes]
    pl.DataFrame({"user_id": who, "timestamp": when, "dollars": dollars}).write_parquet("purchases.parquet")
    amount = np.bincount(who, weights=dollars, minlength=n) * rng.lognormal(0, 0.3, n)
    cutoff = [start + timedelta(days=90)] * n
    pl.DataFrame({"user_id": range(n), "cutoff": cutoff, "amount": amount}).write_parquet("amounts.parquet")
    return tmp_path


def test_the_commands_of_the_page_run(here):
    lines = re.findall(r"^    (habitus .+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        words = shlex.split(line)[1:]
        assert main([*words, *(["--epochs", "1", "--quiet"] if words[0] in ("fit", "compare") else [])]) == 0, line
    assert pl.read_parquet("scores.parquet").columns == ["user_id", "cutoff", "prediction"]


def test_the_python_of_the_page_runs(here):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    names = {}
    exec(compile(block, "docs/regress.md", "exec"), names)
    columns = ["user_id", "cutoff", "prediction", "prediction_q10", "prediction_q50", "prediction_q90"]
    assert names["scores"].columns == columns


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE.read_text("utf-8")):
        assert (PAGE.parent / target).exists(), target
