"""What docs/text.md shows runs, on a few made-up reviews, a tiny encoder and a small log."""

import re
import shlex
from pathlib import Path

import polars as pl
import pytest

from habitus.cli import main
from tests.test_text_model import reviews, shop
from tests.tiny_bert import tiny_bert

PAGE = Path(__file__).parents[2] / "docs" / "text.md"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the files that the page names."""
    monkeypatch.chdir(tmp_path)
    reviews(120).drop("stars").write_csv("reviews.csv")
    reviews(120).drop("mood").write_csv("rated.csv")
    reviews(10, seed=1).select("review").write_csv("new_reviews.csv")
    tiny_bert(tmp_path / "tiny-bert")
    log, examples = shop()
    log.write_parquet("shop.parquet")
    examples.write_parquet("next.parquet")
    (tmp_path / "tagged").mkdir()
    for part, n in (("train", 30), ("dev", 9), ("test", 9)):
        sentence = "a\tO\ngood\tB-mood\nfilm\tB-what\n\nbuy\tO\nvery\tO\ntea\tB-what\n\n"
        (tmp_path / "tagged" / f"{part}.conll").write_text(sentence * n)
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_run(here):
    lines = re.findall(r"^    (habitus .+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert len(lines) == 13
    for line in lines:
        words = shlex.split(line)[1:]
        assert main([*words, *(["--epochs", "1", "--quiet"] if words[0] in ("fit", "compare") else [])]) == 0, line
    assert pl.read_csv("moods.csv").columns == ["row", "prediction", "probability"]


def test_the_python_of_the_page_runs(here):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL):
        exec(compile(block, "docs/text.md", "exec"), names)
    assert names["moods"].columns == ["row", "prediction", "probability"]
    assert names["states"].shape == (10, 16)


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE.read_text("utf-8")):
        assert (PAGE.parent / target).exists(), target
