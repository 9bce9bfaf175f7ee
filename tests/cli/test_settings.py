"""The config file, --set and flags, in this order of strength; what is not known is refused."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from habitus.cli.settings import SECTIONS, TASK_KEYS, build_data, build_plan, build_split, read_settings, target_of
from habitus.errors import ConfigError
from habitus.fields import Category, Number

ROOT = Path(__file__).resolve().parents[2]
FILE = """
seed = 7
[task]
name = "classify"
target = "risk"
[backbone]
name = "gru"
hidden_size = 8
[data]
max_length = 64
[data.fields]
amount = { kind = "number", log = true }
[training]
epochs = 3
"""


def config(folder: Path, text: str, name: str = "model.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_flag_wins_over_set_and_set_over_the_file(tmp_path):
    path = config(tmp_path, FILE)
    assert read_settings(path, {})["training"] == {"epochs": 3}
    assert read_settings(path, {"set": ["training.epochs=4"]})["training"] == {"epochs": 4}
    assert read_settings(path, {"set": ["training.epochs=4"], "epochs": 5})["training"] == {"epochs": 5}


def test_a_flag_that_is_not_given_changes_nothing(tmp_path):
    path = config(tmp_path, FILE)
    assert read_settings(path, {"epochs": None, "drop": [], "field": None}) == read_settings(path, {})


def test_a_plan_is_what_file_and_flags_say(tmp_path):
    plan = build_plan(read_settings(config(tmp_path, FILE), {"field": ["code=category"], "split": "time", "test": 0.3}))
    assert (plan.seed, plan.split.by, plan.split.test, plan.split.seed) == (7, "time", 0.3, 7)
    assert plan.data.max_length == 64 and set(plan.data.fields) == {"amount", "code"}
    assert plan.backbones["gru"].hidden_size == 8 and plan.training.epochs == 3 and plan.task.target == "risk"


def test_json_says_the_same_as_toml(tmp_path):
    path = config(tmp_path, '{"seed": 7, "training": {"epochs": 3}}', "model.json")
    assert read_settings(path, {})["training"] == {"epochs": 3}


def test_several_targets_make_a_list():
    assert target_of(read_settings(None, {"target": ["a"]})) == "a"
    assert target_of(read_settings(None, {"target": ["a", "b"]})) == ["a", "b"]
    assert build_plan(read_settings(None, {"target": ["a", "b"]})).task.multi_label


def test_set_reads_values_as_toml_and_bare_words_as_text():
    given = ["backbone.dropout=0.25", "backbone.causal=true", "backbone.pooling=last", "data.fields.x=number", "seed=3"]
    settings = read_settings(None, {"set": given})
    assert settings["backbone"] == {"dropout": 0.25, "causal": True, "pooling": "last"}
    assert (settings["data"]["fields"], settings["seed"]) == ({"x": "number"}, 3)


def test_compare_tunes_the_backbone_that_the_file_names(tmp_path):
    plan = build_plan(read_settings(config(tmp_path, FILE), {}), ["transformer", "gru"])
    assert list(plan.backbones) == ["transformer", "gru"]
    assert (plan.backbones["gru"].hidden_size, plan.backbones["transformer"].hidden_size) == (8, 64)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sead = 1", "Unknown option 'sead' in the config file .*did you mean 'seed'"),
        ("[trainning]\nepochs = 3", "did you mean 'training'"),
        ("training = 3", "must be a section: write \\[training\\]"),
        ("[task]\ntarget = 3", "target=3 is of the wrong type"),
        ("[task]\nname = 'regres'", "there is no task 'regres'"),
        ("[task]\ntraget = 'risk'", "did you mean 'target'"),
        ("seed = -1", "seed=-1 is no seed"),
        ("seed = 'x'", "seed='x' is no seed"),
        ("seed = ", "is not valid TOML or JSON"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path, text, sentence):
    path = config(tmp_path, text)
    with pytest.raises(ConfigError, match=sentence):
        target_of(read_settings(path, {}))
        build_split(read_settings(path, {}))


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("[data]\nmax_lenght = 3", "did you mean 'max_length'"),
        ("[data]\nmax_length = 'long'", "max_length='long' is of the wrong type"),
        ("[split]\nby = 'entities'", "by='entities' is of the wrong type; it takes 'entity'"),
        ("[split]\ntest = 2", "leave nothing to train on"),
    ],
)
def test_a_wrong_section_is_refused_with_a_sentence(tmp_path, section, sentence):
    settings = read_settings(config(tmp_path, section), {})
    with pytest.raises(ConfigError, match=sentence):
        build_data(settings)
        build_split(settings)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"set": ["epochs=3"]}, "is not SECTION.KEY=VALUE"),
        ({"set": ["training=3"]}, "is not SECTION.KEY=VALUE"),
        ({"set": ["training.epochs"]}, "is not SECTION.KEY=VALUE"),
        ({"field": ["amount"]}, "is not NAME=KIND"),
        ({}, "No target is given"),
        ({"target": ["risk"], "backbone": "lstn"}, "There is no backbone 'lstn'"),
        ({"target": ["risk"], "class_weight": "equal"}, "class_weight='equal'"),
        ({"target": ["risk"], "epochs": 0}, "epochs=0 must be 1 or more"),
        ({"target": ["risk"], "set": ["backbone.n_layer=2"]}, "did you mean 'n_layers'"),
    ],
)
def test_wrong_flags_are_refused_with_a_sentence(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build_plan(read_settings(None, given))


def test_every_backbone_can_be_compared():
    plan = build_plan(read_settings(None, {"target": ["risk"]}), ["rnn", "lstm", "gru", "transformer"])
    assert [type(one).__name__ for one in plan.backbones.values()] == ["RNN", "LSTM", "GRU", "Transformer"]


def test_a_backbone_named_twice_is_refused():
    with pytest.raises(ConfigError, match="names one twice"):
        build_plan(read_settings(None, {"target": ["risk"]}), ["gru", "gru"])


def pages() -> list[tuple[str, type]]:
    """Return the headings of the page and the dataclass that each describes."""
    from habitus.backbones import CNN, GRU, LSTM, RNN, Transformer
    from habitus.data.next_split import NextSplit
    from habitus.data.options import Data
    from habitus.data.split import Split
    from habitus.model import NextOptions, Options
    from habitus.tasks.next_event import NextEvent
    from habitus.training import Training

    return [
        ("## [data]", Data),
        ("### [data.fields]", Category),
        ("### [data.fields]", Number),
        ("## [split]", Split),
        ("## [training]", Training),
        ("## [options]", Options),
        ("### [task] of next-event", NextEvent),
        ("### [split] of next-event", NextSplit),
        ("### [options] of next-event", NextOptions),
        ('### name = "transformer"', Transformer),
        ('### name = "gru"', GRU),
        ('### name = "lstm"', LSTM),
        ('### name = "rnn"', RNN),
        ('### name = "cnn"', CNN),
    ]


def test_every_key_is_on_the_page_with_its_default():
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    for heading, home in pages():
        section = re.split(r"\n##+ ", page.partition(f"\n{heading}\n")[2])[0]
        for field in dataclasses.fields(home):
            factory = field.default_factory
            value = field.default if factory is dataclasses.MISSING else factory()
            shown = "*none*" if value is None else f"`{json.dumps(value)}`"
            assert f"| `{field.name}` | {shown} |" in section, f"{heading}: {field.name} is {shown}"
        if home not in (Category, Number):
            keys = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
            assert set(keys) == {field.name for field in dataclasses.fields(home)}, heading


def test_every_section_and_task_key_is_on_the_page():
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert all(f"\n## [{name}]\n" in page for name in SECTIONS)
    assert all(f"| `{name}` |" in page for keys in TASK_KEYS.values() for name in keys)


def test_the_example_on_the_page_is_a_config(tmp_path):
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert build_plan(read_settings(config(tmp_path, example), {})).task.target
