"""New items from their content: what a ridge regression foretells, and what a model then does with it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

import habitus as hb
from habitus.model.new_items import Content, foretold
from habitus.training import Training

START = datetime(2024, 1, 1, tzinfo=UTC)


def two_worlds(n=60, seed=0):
    """Return users who stay among red items or among blue ones."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "user_id": f"u{u:02}",
            "timestamp": START + timedelta(hours=int(h)),
            "item_id": f"{'rb'[u % 2]}{rng.integers(5)}",
        }
        for u in range(n)
        for h in range(8)
    ]
    return pl.DataFrame(rows)


def catalogue():
    names = [f"{world}{number}" for world in "rb" for number in range(5)] + ["r_new", "b_new"]
    return pl.DataFrame({"item_id": names, "title": [f"{'red' if n[0] == 'r' else 'blue'} thing" for n in names]})


@pytest.fixture(scope="module")
def model():
    return hb.SequenceModel(
        hb.NextEvent("item_id", when=False),
        hb.GRU(hidden_size=16, n_layers=1),
        options=hb.NextOptions(baselines=(), filter_seen="no"),
        training=Training(epochs=20, learning_rate=5e-3, threads=1, tracker=None),
    ).fit(two_worlds())


def test_a_new_item_is_recommended_where_its_title_belongs(model):
    more = model.with_items(catalogue())
    lists = more.recommend(two_worlds(), k=12)
    place = lists.filter(pl.col("item_id").is_in(["r_new", "b_new"])).with_columns(
        own=(pl.col("item_id").str.head(1) == "r") == (pl.col("user_id").str.tail(1).cast(int) % 2 == 0)
    )
    ranks = {key[0]: group["rank"].mean() for key, group in place.group_by("own")}
    assert ranks[True] < 6.5 and ranks[True] + 1 < ranks[False]  # behind the five known ones of its world, at most
    assert model.vocabulary_.size == 13 and more.vocabulary_.values[-2:] == ["r_new", "b_new"]


def test_known_items_keep_their_scores_and_the_grown_model_is_saved(model, tmp_path):
    more = model.with_items(catalogue())
    known = [f"r{n}" for n in range(5)]
    before, after = (one.recommend(two_worlds(), k=5, candidates=known)["score"] for one in (model, more))
    np.testing.assert_allclose(before, after, atol=1e-5)
    more.save(tmp_path / "model")
    assert hb.load(tmp_path / "model").vocabulary_.values == more.vocabulary_.values
    assert model.with_items(catalogue()[:10]).vocabulary_.size == model.vocabulary_.size


def test_the_embedding_is_that_of_a_ridge_regression_on_words():
    torch.manual_seed(0)
    table = torch.randn(3 + 4, 5)
    content = pl.DataFrame({"item": list("abcdx"), "title": ["Red cat", "red dog", "blue cat", "Blue dog", "red fish"]})
    found = foretold(Content.of(content, "item"), list("abcd"), ["x"], table)
    texts = [f"0:{text.lower().split()[0]} 0:{text.lower().split()[1]}" for text in content["title"]]
    words = TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True).fit(texts[:4])
    ridge = Ridge(alpha=3.0).fit(words.transform(texts[:4]), table[3:].numpy())
    np.testing.assert_allclose(found, ridge.predict(words.transform(texts[4:])), atol=1e-5)


def test_a_boost_lengthens_new_items_alone(model):
    plain, high = (model.with_items(catalogue(), boost=boost).network_.item_table.detach() for boost in (1.0, 2.0))
    torch.testing.assert_close(high[-2:], 2 * plain[-2:])
    torch.testing.assert_close(high[:-2], plain[:-2])


def test_columns_of_floats_are_read_as_they_are():
    rng = np.random.default_rng(0)
    vectors, mapping = rng.normal(size=(60, 3)), rng.normal(size=(3, 4))
    content = pl.DataFrame({"item": [f"i{n}" for n in range(60)], **{f"v{d}": vectors[:, d] for d in range(3)}})
    table = torch.from_numpy(np.concatenate([np.zeros((3, 4)), vectors[:50] @ mapping])).float()
    known, new = [f"i{n}" for n in range(50)], [f"i{n}" for n in range(50, 60)]
    found = foretold(Content.of(content, "item"), known, new, table)
    assert np.corrcoef(found.numpy().ravel(), (vectors[50:] @ mapping).ravel())[0, 1] > 0.95


def test_mistakes_are_sentences(model):
    with pytest.raises(hb.DataError, match="at least one more"):
        model.with_items(pl.DataFrame({"item_id": ["x"]}))
    with pytest.raises(hb.ConfigError, match="boost=0"):
        model.with_items(catalogue(), boost=0)
    with pytest.raises(hb.DataError, match="describes an item twice"):
        model.with_items(pl.DataFrame({"item_id": ["x", "x"], "title": ["a", "b"]}))
    with pytest.raises(hb.DataError, match="describes none of the items"):
        model.with_items(pl.DataFrame({"item_id": ["x"], "title": ["a"]}))
