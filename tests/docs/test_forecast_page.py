"""What docs/forecast.md shows runs, in the order of the page: first its Python, then its commands."""

import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from habitus.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "forecast.md"


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text("utf-8")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    assert names["forecasts"].height == 2 * 24
    lines = re.findall(r"^    (habitus .+)$", text, flags=re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] in ("fit", "compare"):
            words += ["--epochs", "1", "--quiet", "--set", "options.windows_per_epoch=100"]
            words += ["--set", 'options.baselines=["last value"]']
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (line, result.output)
    assert pl.read_parquet("forecasts.parquet").columns[:3] == ["series_id", "timestamp", "prediction"]
