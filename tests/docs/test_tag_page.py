"""The page on tags shows commands and Python that run."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from habitus.cli import app
from habitus.data.simulate import simulate_installs

PAGE = Path(__file__).parents[2] / "docs" / "tag.md"
SENTENCE = "play\tO\njazz\tB-genre\nnow\tO\n\nplay\tO\nthe\tO\nBlue\tB-album\nTrain\tI-album\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    simulate_installs(60, seed=0).events.write_parquet(tmp_path / "data" / "installs.parquet")
    (tmp_path / "sentences.conll").write_text("\n".join([SENTENCE] * 10), "utf-8")
    (tmp_path / "untagged.conll").write_text("play\njazz\n", "utf-8")


def test_the_commands_run(here):
    lines = re.findall(r"^    (habitus .+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert len(lines) > 6
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] == "simulate":
            continue
        if words[0] in ("fit", "compare"):
            words += ["--epochs", "1", "--quiet"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (line, result.output)


def test_the_python_runs(here):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL):
        exec(compile(block, "docs/tag.md", "exec"), names)
    assert "prediction" in names["tags"].columns and len(names["model"].history_) == 1
