"""What may be searched, and how a space is read."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from habitus.errors import ConfigError
from habitus.tune.report import toml_of
from habitus.tune.space import Range, default_space, read_space


def test_a_space_is_read_from_toml(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        "[training]\nlearning_rate = { low = 1e-3, high = 1e-2, log = true }\n[backbone]\nn_layers = [1, 2]\n"
    )
    space = read_space(path)
    assert space == {"training.learning_rate": Range(1e-3, 1e-2, log=True), "backbone.n_layers": (1, 2)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[data]\nmax_length = [8, 16]\n", "same in every trial"),
        ("[trainin]\nepochs = [1]\n", "training"),
        ("[training]\nepochs = 3\n", "choices"),
        ("[training]\nepochs = { low = 3, high = 1 }\n", "low below high"),
        ("[training]\nepochs = { low = 1, high = 3, step = 1 }\n", "step"),
        ("", "empty"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(text, said, tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_space(path)


@pytest.mark.parametrize("task", ["classify", "regress", "next-event", "tag", "forecast"])
@pytest.mark.parametrize("backbone", ["transformer", "gru", "lstm", "rnn", "cnn"])
def test_default_spaces_hold_options_that_models_take(task, backbone):
    from dataclasses import fields

    from habitus.model import BACKBONES, Options
    from habitus.training import Training

    kinds = {"backbone": BACKBONES[backbone], "training": Training, "options": Options}
    for key in default_space(task, backbone):
        section, _, name = key.partition(".")
        assert name in {one.name for one in fields(kinds[section])}, key


NAMES = st.text(min_size=1, max_size=8)
VALUES = st.one_of(
    st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
TABLES = st.dictionaries(
    NAMES, st.one_of(VALUES, st.lists(VALUES, max_size=3), st.dictionaries(NAMES, VALUES, min_size=1))
)


@given(st.dictionaries(NAMES, st.one_of(VALUES, TABLES.filter(bool))))
def test_what_is_written_as_toml_is_read_back(document):
    assert tomllib.loads(toml_of(document)) == document
