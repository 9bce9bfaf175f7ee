"""The page on answers shows commands and Python that run."""

import re
import shlex
from pathlib import Path

import pytest

from habitus.cli import main
from tests.squad import WORDS, questions
from tests.tiny_bert import tiny_bert

PAGE = Path(__file__).parents[2] / "docs" / "answer.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the files that the page names."""
    folder = tmp_path_factory.mktemp("answer")
    questions(80).write_csv(folder / "squad.csv")
    questions(30, seed=1).write_csv(folder / "more.csv")
    questions(10, seed=2).drop("answer").write_csv(folder / "asked.csv")
    tiny_bert(folder / "tiny-bert", words=WORDS, positions=80)
    return folder


@pytest.mark.slow
def test_the_commands_of_the_page_run(made, monkeypatch):
    monkeypatch.chdir(made)
    lines = re.findall(r"^    (habitus .+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert len(lines) == 7
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] in ("fit", "compare"):
            words += ["--epochs", "1", "--quiet"]
        if words[0] == "compare":
            words += ["--set", "training.batch_rows=32"]
        assert main(words) == 0, line


def test_the_python_of_the_page_runs(made, monkeypatch):
    monkeypatch.chdir(made)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL):
        exec(compile(block, "docs/answer.md", "exec"), names)
    assert names["told"].columns == ["row", "question", "answer", "score", "start", "end"]
    assert names["best"]["rank"].to_list() == [1, 2, 3]


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE.read_text("utf-8")):
        assert (PAGE.parent / target).exists(), target
