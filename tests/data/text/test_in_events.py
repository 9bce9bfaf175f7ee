"""A text inside an event: token ids under names of its own, one table, one mean."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

import habitus as hb
from habitus.backbones.embed import EventEmbedding, module_key
from habitus.data.encode import Encoder
from habitus.data.text.in_events import EventText, field_of, pieces_of
from habitus.fields import Text
from habitus.training import Training
from tests.titled import START, titled_log

QUICK = Training(epochs=1, batch_tokens=512, threads=1, tracker=None)
TITLES = ["red fox runs", "blue cat sleeps", "red cat runs fast", "green dog", ""]


def log(n=40):
    return titled_log(TITLES, n)


def test_tokens_are_counted_by_events_and_cut_to_the_most():
    learned = EventText.fit(Text(min_count=2, most=2), [pl.Series(["a b c", "a"]), pl.Series(["b b", None])])
    assert learned.values == ["b", "a"]  # c was seen once
    assert learned.encode(pl.Series(["a c b", "", None, "new"])).tolist() == [[4, 1], [2, 0], [2, 0], [1, 0]]


def test_subwords_give_an_unseen_word_known_pieces():
    learned = EventText.fit(Text("subwords", vocabulary_size=512), pl.Series(["running runner run"] * 5))
    assert (learned.encode(pl.Series(["runs"]))[0] > 2).any()


def test_an_encoder_with_a_text_survives_json():
    learned = EventText.fit(Text(min_count=1), pl.Series(TITLES))
    encoder = Encoder(hb.Schema(fields={"title": Text(min_count=1)}), {"title": learned}, {})
    again = Encoder.from_json(encoder.to_json())
    assert isinstance(again.fields["title"], EventText) and again.sizes == encoder.sizes
    assert list(again.sizes) == learned.piece_names("title")
    np.testing.assert_array_equal(again.fields["title"].encode(pl.Series(TITLES)), learned.encode(pl.Series(TITLES)))


def test_the_embedding_is_the_mean_of_the_tokens_and_ignores_padding():
    sizes = {"item": 9, "title": 7, "title ·2": 7, "title ·3": 7}
    embed = EventEmbedding(sizes, {}, 4, 0.0, use_time=False).eval()
    assert list(embed.categories) == [module_key("item"), module_key("title")]
    ids = {name: torch.tensor([[value]]) for name, value in zip(sizes, (3, 4, 6, 0), strict=True)}
    table = embed.categories[module_key("title")].weight
    wanted = embed.norm(embed.categories[module_key("item")].weight[3] + (table[4] + table[6]) / 2)
    torch.testing.assert_close(embed.vectors(ids, {}, [])[0, 0], wanted)


def test_names_of_tokens_lead_back_to_their_field():
    assert [field_of(one) for one in ("title", "title ·12", "a · b")] == ["title", "title", "a · b"]
    assert pieces_of(["a ·2", "b"]) == {}  # a lone column that is called so is a field of its own


@pytest.fixture(scope="module")
def classified():
    events = log()
    users = events["user_id"].unique(maintain_order=True)
    fox = set(events.filter(pl.col("title").str.contains("fox"))["user_id"])
    labels = pl.DataFrame({"user_id": users, "cutoff": START + timedelta(days=60), "fox": [u in fox for u in users]})
    model = hb.SequenceModel(
        hb.Classify("fox"),
        hb.GRU(hidden_size=8),
        data=hb.Data(fields={"title": Text(min_count=1)}),
        options=hb.Options(baselines=("bag + logistic regression",)),
        training=QUICK,
    )
    return model.fit(events, labels), events


def test_a_classifier_reads_texts_of_events_and_new_ones_at_scoring(classified, tmp_path):
    model, events = classified
    new = events.with_columns(title=pl.lit("a fox that nobody knew"))
    scores = model.predict(new)
    assert scores["probability"].is_between(0, 1).all()
    assert not np.allclose(scores["probability"], model.predict(events)["probability"])
    model.save(tmp_path / "model")
    assert_frame_equal(hb.load(tmp_path / "model").predict(new), scores)


def test_next_events_read_texts_alike_in_batches_and_event_by_event():
    events = log()
    model = hb.SequenceModel(
        hb.NextEvent("item_id", when=False),
        hb.GRU(hidden_size=8),
        data=hb.Data(fields={"title": Text(min_count=1)}),
        options=hb.NextOptions(baselines=()),
        training=QUICK,
    ).fit(events)
    stream = model.stream()
    for row in events.filter(pl.col("user_id") == "u07").iter_rows(named=True):
        stream.push(row["user_id"], {name: value for name, value in row.items() if name != "user_id"})
    whole = model.embed(events.filter(pl.col("user_id") == "u07"))[0]
    np.testing.assert_allclose(stream.state("u07"), whole, atol=1e-5)


def test_a_profile_cannot_hold_a_text():
    events = log(20)
    labels = pl.DataFrame(
        {"user_id": events["user_id"].unique(maintain_order=True), "cutoff": START + timedelta(days=60)}
    ).with_columns(y=pl.int_range(pl.len()) % 2, about=pl.lit("some words"))
    model = hb.SequenceModel(hb.Classify("y"), data=hb.Data(fields={"about": Text()}), training=QUICK)
    with pytest.raises(hb.ConfigError, match="profile field 'about' cannot be a text"):
        model.fit(events, labels)
