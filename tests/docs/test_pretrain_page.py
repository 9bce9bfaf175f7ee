"""The pages on pretraining and tuning: their commands run, on a small log, as they stand."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from habitus.cli import app

DOCS = Path(__file__).parents[2] / "docs"
SMALL = {
    "pretrain": ["--epochs", "1"],
    "fit": ["--epochs", "1"],
    "compare": ["--epochs", "1"],
    "tune": ["--epochs", "1"],
}


@pytest.mark.slow
@pytest.mark.parametrize("page", ["pretrain.md", "tune.md"])
def test_the_commands_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text("utf-8")
    for block in re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL):
        (tmp_path / "space.toml").write_text(block)
    trials = 0
    for line in re.findall(r"^    (habitus .+)$", text, flags=re.MULTILINE):
        words = shlex.split(line)[1:]
        if words[0] == "simulate":
            words[words.index("--users") + 1] = "150"
        elif "--config" not in words:
            words += [*SMALL[words[0]], "--quiet"]
        if words[0] == "tune":
            trials = trials + 1 if "--resume" in words else 1
            words[words.index("--trials") + 1] = str(trials)
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (line, result.output)
    assert (tmp_path / "runs").is_dir()


def test_the_python_of_the_page_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "pretrain.md").read_text("utf-8")
    ((block, expected),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, flags=re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "docs/pretrain.md", "exec"), {})
    assert printed.getvalue() == expected
