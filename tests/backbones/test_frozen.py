"""Texts of events through a frozen encoder: its vectors are transformers' own, and each text is read once."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from transformers import AutoModel

import habitus as hb
from habitus.backbones.pretrained import frozen
from habitus.backbones.pretrained.frozen import (
    FrozenText,
    TextVectors,
    frozen_texts,
    know_texts,
    text_names,
    vectors_of,
)
from habitus.cli.settings import read_settings
from habitus.data.encode import Encoder
from habitus.data.events import as_fields
from habitus.data.text.in_events import EventText
from habitus.errors import BundleError, ConfigError
from habitus.fields import Text
from habitus.fields.category import MISSING, PAD
from habitus.training import Training
from tests.tiny_bert import tiny_bert
from tests.titled import START, titled_log

QUICK = Training(epochs=2, batch_tokens=512, threads=1, tracker=None)
TITLES = ["good film", "bad film", "a very bad phone", "tea", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def fitted(folder):
    return EventText.fit(Text(folder, most=6), pl.Series(TITLES))


def log(n=40):
    return titled_log(TITLES, n)


def labels_of(events):
    users = events["user_id"].unique(maintain_order=True)
    tea = set(events.filter(pl.col("title") == "tea")["user_id"])
    return pl.DataFrame({"user_id": users, "cutoff": START + timedelta(days=60), "tea": [u in tea for u in users]})


def labelled(folder):
    return hb.SequenceModel(
        hb.Classify("tea"),
        hb.GRU(hidden_size=8),
        data=hb.Data(fields={"title": Text(folder, most=6)}),
        options=hb.Options(baselines=("bag + logistic regression",)),
        training=QUICK,
    )


def next_event(folder, backbone=None):
    return hb.SequenceModel(
        hb.NextEvent("item_id", when=False),
        backbone or hb.GRU(hidden_size=8),
        data=hb.Data(fields={"title": Text(folder)}),
        options=hb.NextOptions(baselines=()),
        training=QUICK,
    )


def config_of(fitted):
    return frozen_texts(Encoder(hb.Schema(fields={"title": fitted.spec}), {"title": fitted}))["title"]


def test_ids_are_the_encoders_own_with_its_special_tokens(fitted):
    assert fitted.encode(pl.Series(["good film", None, "", "tea tea tea tea tea tea"])).tolist() == [
        [5, 7, 9, 6, PAD, PAD],
        [MISSING, PAD, PAD, PAD, PAD, PAD],
        [MISSING, PAD, PAD, PAD, PAD, PAD],
        [5, 18, 18, 18, 18, 6],
    ]


def test_vectors_are_the_mean_of_transformers_states_of_length_one(fitted, folder):
    text = FrozenText(config_of(fitted), 4)
    text.project.weight.data[:] = torch.eye(4, 16)
    read = text(torch.from_numpy(fitted.encode(pl.Series(["good film", "a very bad phone"])))[None])
    theirs = AutoModel.from_pretrained(folder).eval()
    for own, ids in zip(read[0], ([2, 4, 6, 3], [2, 7, 9, 5, 14, 3]), strict=True):
        states = theirs(torch.tensor([ids])).last_hidden_state[0].mean(0)
        torch.testing.assert_close(own, (states / states.norm())[:4], atol=1e-5, rtol=0)


def test_each_text_is_read_once_and_none_in_a_step(fitted, monkeypatch):
    text, seen = FrozenText(config_of(fitted), 4), []
    monkeypatch.setattr(frozen, "_SHARED", {})
    read = TextVectors._encoded

    def counted(self, tokens, device):
        seen.append(len(tokens))
        return read(self, tokens, device)

    monkeypatch.setattr(TextVectors, "_encoded", counted)
    ids = torch.from_numpy(fitted.encode(pl.Series(TITLES * 3)))
    text.know([column.numpy() for column in ids.T])
    text(ids[None]), text(ids[None, :2])
    assert seen == [len(TITLES)]
    text(torch.from_numpy(fitted.encode(pl.Series(["tea", "good tea"])))[None])
    assert seen == [len(TITLES), 1]


def test_only_the_projection_learns_and_a_missing_text_has_its_own_vector(fitted):
    text = FrozenText(config_of(fitted), 4)
    assert sorted(name for name, _ in text.named_parameters()) == ["missing", "project.bias", "project.weight"]
    text.missing.data[:] = 7.0
    read = text(torch.from_numpy(fitted.encode(pl.Series([None, "tea"])))[None])
    assert (read[0, 0] == 7).all() and not (read[0, 1] == 7).any()
    read.sum().backward()
    assert text.missing.grad.tolist() == [1.0] * 4 and text.project.bias.grad.tolist() == [1.0] * 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), max_size=5), min_size=1, max_size=8), st.integers(0, 3))
def test_names_tell_rows_apart_whatever_their_room(rows, more):
    width = 5 + more
    table = np.array([row + [-1] * (width - len(row)) for row in rows])
    names = text_names(table)
    same = names[:, None] == names[None]
    assert (same == [[one == other for other in rows] for one in rows]).all()
    np.testing.assert_array_equal(text_names(table[:, :5]), names)


def test_vectors_come_back_whatever_was_added_between_and_are_forgotten_beyond_the_most(fitted, monkeypatch):
    vectors, texts = TextVectors(config_of(fitted)), ["good", "bad", "film", "a film", "tea", "phone"]
    tokens = fitted.encode(pl.Series(texts)).astype(np.int64) - 3
    names = text_names(tokens)
    alone = [vectors.of(tokens[i : i + 1], names[i : i + 1])[0] for i in range(len(texts))]
    order = [3, 0, 5, 1]
    np.testing.assert_array_equal(vectors.of(tokens[order], names[order]), np.stack(alone)[order])
    monkeypatch.setattr(frozen, "_MOST_KEPT", 4)
    few = TextVectors(config_of(fitted))
    few.know(tokens[:2], names[:2])
    for start in (0, 2, 4, 1):
        np.testing.assert_allclose(
            few.of(tokens[start : start + 2], names[start : start + 2]), alone[start : start + 2], atol=1e-6
        )
    assert len(few) <= 6


def test_options_that_cannot_be_right_are_refused(folder, fitted):
    with pytest.raises(ConfigError, match=r"most=2 leaves no room .* use 3 or more"):
        EventText.fit(Text(folder, most=2), pl.Series(TITLES))
    long = EventText.fit(Text(folder, most=99), pl.Series(TITLES))
    with pytest.raises(ConfigError, match=r"'title': most=99 is more than .* has positions; use 40"):
        config_of(long)
    with pytest.raises(ConfigError, match="There is no pretrained encoder 'no/such'"):
        EventText.fit(Text("no/such"), pl.Series(TITLES))


def test_a_network_without_such_a_text_is_left_alone():
    know_texts(torch.nn.Linear(1, 1), {"item": np.zeros(3)})


def test_the_command_line_names_the_encoder_behind_the_kind(folder):
    settings_ = read_settings(None, {"field": [f"title=text:{folder}"]})
    assert settings_["data"]["fields"] == {"title": f"text:{folder}"}
    assert as_fields(settings_["data"]["fields"]) == {"title": Text(folder)}


@pytest.fixture(scope="module")
def classified(folder):
    events = log()
    return labelled(folder).fit(events, labels_of(events)), events


def test_a_classifier_answers_the_same_saved_and_loaded_alone_and_for_new_texts(classified, tmp_path, monkeypatch):
    model, events = classified
    assert len(vectors_of(frozen_texts(model.encoder_)["title"])) >= len(TITLES)
    new = events.with_columns(title=pl.lit("a very good phone , not tea"))
    scores = model.predict(new)
    assert not np.allclose(scores["probability"], model.predict(events)["probability"])
    model.save(tmp_path / "model")
    names = hb.load(tmp_path / "model").network_.state_dict()
    assert not [name for name in names if "encoder" in name]
    monkeypatch.setattr(frozen, "_SHARED", {})  # as in another process
    again = hb.load(tmp_path / "model")
    assert_frame_equal(again.predict(new), scores)
    one = again.predict(new.filter(pl.col("user_id") == "u07"))["probability"][0]
    assert abs(one - scores.filter(pl.col("user_id") == "u07")["probability"][0]) < 1e-5


def test_an_encoder_with_other_weights_is_refused(tmp_path, monkeypatch):
    folder, events = tiny_bert(tmp_path / "one"), log(12)
    next_event(folder).fit(events).save(tmp_path / "model")
    tiny_bert(tmp_path / "one", seed=1)
    monkeypatch.setattr(frozen, "_SHARED", {})
    with pytest.raises(BundleError, match="has other weights than those that this model was trained beside"):
        hb.load(tmp_path / "model").predict(events)


def test_a_run_that_stops_resumes_to_the_same_weights(folder, tmp_path, monkeypatch):
    events, whole, halves = log(), labelled(folder), labelled(folder)
    whole.fit(events, labels_of(events))

    class Stop:
        def on_start(self, facts): ...
        def on_batch(self, facts): ...
        def on_end(self): ...
        def on_epoch(self, record):
            if record["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halves.fit(events, labels_of(events), folder=tmp_path, callbacks=[Stop()])
    monkeypatch.setattr(frozen, "_SHARED", {})
    halves.fit(events, labels_of(events), folder=tmp_path, resume=True)
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(value, halves.network_.state_dict()[name]), name


@pytest.mark.parametrize("backbone", [hb.GRU(hidden_size=8), hb.Transformer(hidden_size=8, n_heads=2, pooling="last")])
def test_next_events_are_read_alike_in_batches_and_event_by_event(folder, backbone):
    events = log()
    model = next_event(folder, backbone).fit(events)
    stream, own = model.stream(), events.filter(pl.col("user_id") == "u07")
    for row in own.iter_rows(named=True):
        stream.push(row["user_id"], {name: value for name, value in row.items() if name != "user_id"})
    np.testing.assert_allclose(stream.state("u07"), model.embed(own)[0], atol=1e-5)
    other = model.stream()
    other.take("u07", stream.dump("u07"))
    np.testing.assert_array_equal(other.state("u07"), stream.state("u07"))


def test_new_items_are_known_at_once_and_their_titles_are_read(folder):
    events = log()
    model = next_event(folder).fit(events)
    items = pl.DataFrame({"item_id": ["i0", "i1", "i2", "new"], "title": [*TITLES[:3], "good tea"]})
    grown = model.with_items(items)
    asked = events.filter(pl.col("user_id") == "u07").with_columns(item_id=pl.lit("new"), title=pl.lit("good tea"))
    assert not np.allclose(grown.embed(asked), model.embed(asked))
    assert "new" in grown.recommend(events, k=6, filter_seen=False)["item_id"].to_list()


def test_unlabelled_learning_and_vectors_of_histories_read_such_texts(folder):
    events, data = log(), hb.Data(fields={"title": Text(folder)})
    quick = Training(epochs=1, batch_tokens=512, threads=1, tracker=None)
    masked = hb.SequenceModel(hb.Pretrain("masked"), hb.GRU(hidden_size=8), data=data, training=quick).fit(events)
    assert np.isfinite(masked.embed(events)).all()
    users = hb.SequenceModel(
        hb.Embed(), hb.GRU(hidden_size=8), data=data, training=quick, options=hb.EmbedOptions(baselines=(), shortest=2)
    ).fit(events)
    assert np.isfinite(users.embed(events)).all()
