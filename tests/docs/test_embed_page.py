"""The page on embeddings shows commands and Python that run."""

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from habitus.cli import app
from tests.tiny_bert import tiny_bert

PAGE = Path(__file__).parents[2] / "docs" / "embed.md"
THINGS = ("card", "loan", "fee", "account", "transfer", "password")
SAID = ("Where is my {}?", "My {} has not come.", "How do I close the {}?", "Why is the {} so late?")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("embed"), np.random.default_rng(0)
    questions = [(form.format(thing), thing) for thing in THINGS for form in SAID]
    drawn = [(questions[i], questions[j]) for i, j in rng.integers(0, len(questions), (120, 2))]
    pl.DataFrame(
        [{"sentence1": f"{a} {n}", "sentence2": f"{b} {n}", "score": 5.0 * (s == t) + n % 3 / 10}
         for n, ((a, s), (b, t)) in enumerate(drawn)]
    ).write_csv(folder / "pairs.csv")  # fmt: skip
    faq = pl.DataFrame({"question": [q for q, _ in questions], "answer": [f"Wait for the {t}." for _, t in questions]})
    faq[::2].write_csv(folder / "faq.csv")
    faq[1::2].write_csv(folder / "asked.csv")
    titles = {f"i{number}": f"{THINGS[number % 6]} number {number}" for number in range(12)}
    items = [f"i{number}" for number in rng.integers(0, 11, 400)]
    pl.DataFrame(
        {
            "user_id": [f"u{number % 30:02}" for number in range(400)],
            "timestamp": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(400)],
            "item_id": items,
            "title": [titles[item] for item in items],
        }
    ).write_parquet(folder / "events.parquet")
    pl.DataFrame({"item_id": list(titles), "title": list(titles.values())}).write_csv(folder / "items.csv")
    tiny_bert(folder / "tiny-bert")
    return folder


def test_the_commands_run(made, monkeypatch):
    monkeypatch.chdir(made)
    lines = re.findall(r"^    (habitus .+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert len(lines) > 10
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] in ("fit", "compare"):
            words += ["--epochs", "1", "--quiet", "--set", "backbone.hidden_size=16"]
        if words[0] == "compare":
            words = words[:-2]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (line, result.output)


def test_the_python_runs(made, monkeypatch):
    monkeypatch.chdir(made)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL):
        exec(compile(block, "docs/embed.md", "exec"), names)
    assert names["vectors"].shape == (2, 32) and names["short"].shape == (1, 16)
    assert "i11" in names["more"].vocabulary_.values and "i11" not in names["films"].vocabulary_.values
    assert names["answers"].columns == ["query", "answer", "score", "question"]
