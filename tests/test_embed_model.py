"""Embeddings: every kind of data learns, is judged, answers alike after saving, from scratch and pretrained."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import habitus as hb
from habitus.backbones.pretrained import Pretrained
from habitus.training import Training
from tests.tiny_bert import tiny_bert

QUICK = Training(epochs=1, batch_tokens=512, threads=1, tracker=None)
WORDS = np.array(["red", "blue", "green", "cat", "dog", "fish", "runs", "sleeps", "eats"])


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    one = [" ".join(rng.choice(WORDS, rng.integers(2, 6))) + f" {n}" for n in range(90)]
    two = [" ".join(rng.permutation(text.split())) + " again" for text in one]
    return pl.DataFrame({"one": one, "two": two, "score": rng.random(90), "first": [text.split()[0] for text in one]})


def make(task, text="one,two", **parts):
    backbone = hb.Transformer(
        hidden_size=16, n_layers=1, n_heads=2, causal=False, time_aware=False, pooling=parts.pop("pooling", "mean")
    )
    return hb.SequenceModel(task, backbone, data=hb.Data(text=text), **{"training": QUICK, **parts})


@pytest.mark.parametrize("pooling", ["mean", "cls", "attention"])
def test_any_pooling_embeds_a_text_alike_alone_and_among_others(table, pooling, tmp_path):
    model = make(hb.Embed("score", size=8), pooling=pooling).fit(table)
    vectors = model.embed(table["one"])
    assert vectors.shape == (90, 8) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.embed([table["one"][7]])[0], vectors[7], atol=1e-5)
    model.save(tmp_path / "model")
    again = hb.load(tmp_path / "model")
    np.testing.assert_array_equal(again.embed(table["one"]), vectors)
    assert_frame_equal(again.predict(table), model.predict(table))
    assert again.evaluate(table).n == model.evaluation_.n  # what trained is left out


@pytest.mark.parametrize(
    "task, text, monitor",
    [
        (hb.Embed("score", loss="cosine"), "one,two", "spearman"),
        (hb.Embed("score", loss="dropout"), "one,two", "spearman"),
        (hb.Embed(), "one,two", "mrr"),
        (hb.Embed("first"), "one", "mrr"),
        (hb.Embed(), "one", "mrr"),
    ],
)
def test_what_the_data_says_decides_what_is_learned_and_judged(table, task, text, monitor):
    model = make(task, text).fit(table)
    found = model.evaluation_
    assert found.primary == monitor and 0 <= found.metrics[monitor].value <= 1
    assert set(found.baselines) == {"TF-IDF", "mean of word vectors"}
    assert found.protocol["learned by"] == model.task.learned_by


def test_training_moves_pairs_together_and_strangers_apart():
    rng = np.random.default_rng(1)
    twins = {f"a{n}": f"b{n}" for n in range(12)}  # no token in common: counting words finds nothing
    left = [" ".join(rng.choice(list(twins), 2, replace=False)) for _ in range(300)]
    pairs = pl.DataFrame({"one": left, "two": [" ".join(twins[word] for word in text.split()) for text in left]})
    training = Training(epochs=12, batch_rows=32, learning_rate=3e-3, threads=1, tracker=None)
    model = make(hb.Embed(), split=hb.Split(validation=0.1, test=0.2), training=training).fit(pairs)
    assert model.evaluation_.differences["model - TF-IDF"]["mrr"].low > 0.2


def test_matryoshka_vectors_are_cut_and_of_length_one(table):
    model = make(hb.Embed("score", sizes=(4,))).fit(table)
    whole, short = model.embed(table["one"]), model.embed(table["one"], size=4)
    np.testing.assert_allclose(short, whole[:, :4] / np.linalg.norm(whole[:, :4], axis=1, keepdims=True), atol=1e-5)
    with pytest.raises(hb.ConfigError, match="not within 1 and 16"):
        model.embed(table["one"], size=17)


def test_a_pretrained_encoder_is_judged_as_it_is_or_fine_tuned(table, tmp_path):
    pytest.importorskip("transformers")
    folder = tiny_bert(tmp_path / "bert")
    data = hb.Data(text="one,two", max_length=32)
    still = hb.SequenceModel(hb.Embed("score"), Pretrained(folder, frozen=True), data=data, training=QUICK).fit(table)
    assert still.result_.seconds == 0 and still.evaluation_.n > 0
    tuned = hb.SequenceModel(hb.Embed("score"), Pretrained(folder), data=data, training=QUICK).fit(table)
    assert not np.allclose(tuned.embed(table["one"]), still.embed(table["one"]), atol=1e-4)
    tuned.save(tmp_path / "model")
    np.testing.assert_allclose(hb.load(tmp_path / "model").embed(["red cat"]), tuned.embed(["red cat"]), atol=1e-6)


def test_mistakes_are_sentences(table):
    with pytest.raises(hb.ConfigError, match="loss='cosent' does not learn from pairs of texts"):
        make(hb.Embed(loss="cosent")).fit(table)
    with pytest.raises(hb.ConfigError, match="means nothing for a log"):
        hb.SequenceModel(hb.Embed("score")).fit(table)
    with pytest.raises(hb.ConfigError, match="temperature=0"):
        hb.Embed(temperature=0)
    with pytest.raises(hb.ConfigError, match="no baseline"):
        hb.EmbedOptions(baselines=("bm25",))
    model = make(hb.Embed("score")).fit(table)
    with pytest.raises(hb.ConfigError, match="takes a list of texts"):
        model.embed("red cat")


def test_the_vectors_of_a_text_stand_beside_each_event(table, monkeypatch):
    model = make(hb.Embed(), "one").fit(table)
    log = pl.DataFrame({"user_id": list("aabb"), "title": [table["one"][0], None, "quite new", table["one"][0]]})
    found = model.with_vectors(log, "title", size=3)
    wanted = model.embed([table["one"][0], "", "quite new", table["one"][0]], size=3)
    np.testing.assert_allclose(found.select(pl.selectors.contains("_vector_")).to_numpy(), wanted, atol=1e-5)
    assert found.columns == ["user_id", "title", *(f"title_vector_{d}" for d in range(3))]
    monkeypatch.setattr(type(model), "embed", None)  # all texts are known now
    assert_frame_equal(model.with_vectors(log, "title", size=3), found)
    with pytest.raises(hb.DataError, match="has a column 'title_vector_0' already"):
        model.with_vectors(found, "title", size=3)


def test_an_empty_and_an_unknown_text_have_a_vector(table):
    model = make(hb.Embed("score")).fit(table)
    assert np.isfinite(model.embed(["", "zzz", "red"])).all()
