"""What docs/generate.md shows runs: its Python as it stands, its commands on a few pairs."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from habitus.backbones import EncoderDecoder
from habitus.cli import app
from habitus.data.simulate import simulate_installs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/generate.md").read_text("utf-8")
ANIMALS = {"cat": "猫", "dog": "犬", "bird": "鳥", "horse": "馬", "cow": "牛"}
DOINGS = {"sleeps": "眠る", "eats": "食べる", "runs": "走る", "waits": "待つ"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the files that the page names."""
    monkeypatch.chdir(tmp_path)
    pairs = [(f"the {a} {d} .", f"{ja}が{jd}。") for a, ja in ANIMALS.items() for d, jd in DOINGS.items()]
    table = pl.DataFrame(pairs, schema=["en", "ja"], orient="row")
    for name, part in {"train": table, "dev": table[::5], "test": table[1::4], "new": table.select("en")}.items():
        part.write_csv(f"{name}.tsv", separator="\t")
    (tmp_path / "data").mkdir()
    simulate_installs(60, seed=0).events.write_parquet("data/installs.parquet")
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_run(here):
    lines = [line.split("  #")[0] for line in re.findall(r"^    (habitus .+)$", PAGE, flags=re.MULTILINE)]
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] in ("fit", "compare"):
            small = [
                "--set",
                "backbone.name=transformer",
                "--set",
                "backbone.hidden_size=16",
                "--vocabulary-size",
                "512",
            ]
            words += ["--epochs", "1", "--quiet", *(small if words[0] == "fit" else small[4:])]
        if words[0] == "evaluate":
            words.append("--include-training")
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (line, result.output)
    assert pl.read_parquet("written.parquet").columns == ["en", "generated"]


def test_the_python_of_the_page_runs(here):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(block, "docs/generate.md", "exec"), names)
    assert names["written"].columns == ["en", "generated"]
    assert names["weights"].shape == (len(names["down"]), len(names["across"]))
    assert names["coming"].columns == ["user_id", "past", "generated"]


def test_the_page_has_every_key_of_the_backbone_with_its_default():
    for field in dataclasses.fields(EncoderDecoder):
        if field.name != "kind":  # the name of the backbone
            assert f"| `{field.name}` | `{json.dumps(field.default)}` |" in PAGE, field.name


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
