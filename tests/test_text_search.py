"""Search, duplicates and answers beside whole matrices of cosines."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import habitus as hb
from habitus.model import text_search
from habitus.model.text_search import read_corpus
from habitus.training import Training


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    words = np.array(["red", "blue", "green", "cat", "dog", "fish", "runs", "sleeps", "eats"])
    texts = [" ".join(rng.choice(words, rng.integers(2, 6))) for _ in range(80)]
    return hb.SequenceModel(
        hb.Embed(),
        hb.GRU(hidden_size=16, n_layers=1, pooling="mean"),
        data=hb.Data(text="text"),
        options=hb.EmbedOptions(baselines=()),
        training=Training(epochs=1, batch_tokens=512, threads=1, tracker=None),
    ).fit(pl.DataFrame({"text": texts}))


@pytest.fixture
def corpus():
    texts = ["red cat", "blue dog", None, "red cat", "green fish eats", " ", "blue dog sleeps", "cat red"]
    return pl.DataFrame({"text": texts, "answer": [f"answer {n}" for n in range(8)], "row": list("abcdefgh")})


@pytest.fixture
def index(model, corpus):
    return hb.TextIndex.build(model, corpus, "text")


def test_rows_without_a_text_are_rejected_and_places_stay(corpus):
    found = read_corpus(corpus, "text")
    assert found.frame["row"].to_list() == [1, 2, 4, 5, 7, 8] and found.rejects.total == 2
    assert found.frame.columns == ["row", "text", "answer"]


def test_the_closest_are_those_of_the_whole_matrix(model, index, monkeypatch):
    queries = ["red dog", "fish"]
    cosines = model.embed(queries) @ index.vectors.T
    monkeypatch.setattr(text_search, "_AT_ONCE", 6)
    found = index.search(queries, k=3)
    for number, query in enumerate(queries):
        own = found.filter(pl.col("query") == query)
        np.testing.assert_allclose(own["score"], np.sort(cosines[number])[::-1][:3], atol=1e-6)
        assert own["rank"].to_list() == [1, 2, 3]
    assert index.search(["red cat"], k=99).height == 6


def test_every_pair_above_the_threshold_is_found_once(index, monkeypatch):
    cosines = index.vectors @ index.vectors.T
    wanted = {(i, j) for i in range(6) for j in range(i + 1, 6) if cosines[i, j] >= 0.5}
    place = {row: number for number, row in enumerate(index.frame["row"])}
    for at_once in (6, 1 << 20):
        monkeypatch.setattr(text_search, "_AT_ONCE", at_once)
        found = index.duplicates(0.5)
        pairs = [(place[a], place[b]) for a, b in found.select("row", "other_row").iter_rows()]
        assert len(pairs) == len(wanted) and set(pairs) == wanted
        assert found["score"].is_sorted(descending=True)
    with pytest.raises(hb.DataError, match="raise the threshold"):
        index.duplicates(-1.0, most=3)


def test_an_answer_below_the_threshold_is_not_known(index):
    index.threshold = 0.999
    found = index.answer(["red cat", "zzz eats zzz"], "answer")
    assert found["answer"].to_list() == ["answer 0", None] and found["score"][1] < 0.999


def test_the_threshold_is_the_lowest_that_keeps_the_precision(index):
    questions = ["red cat", "blue dog", "green fish eats", "blue dog sleeps", "fish runs", "eats"]
    right = ["answer 0", "answer 1", "answer 4", "answer 6", None, None]
    chosen = index.choose_threshold(questions, right, "answer", precision=1.0)
    scores = index.answer(questions, "answer")["score"].to_numpy()
    assert chosen["precision"] == 1.0 and chosen["answered"] == pytest.approx(4 / 6)
    assert chosen["threshold"] == pytest.approx(scores[:4].min())
    assert index.choose_threshold(questions, right, "answer", precision=0.5)["answered"] == 1.0
    assert index.choose_threshold(["eats"], [None], "answer")["precision"] == 0.0


def test_an_index_is_saved_beside_its_model(model, index, tmp_path):
    model.save(tmp_path / "model")
    index.threshold = 0.25
    index.save(tmp_path / "index")
    again = hb.TextIndex.load(tmp_path / "index", hb.load(tmp_path / "model"))
    assert again.threshold == 0.25
    assert_frame_equal(again.search(["red dog"], k=4), index.search(["red dog"], k=4))
    with pytest.raises(hb.BundleError, match="no index"):
        hb.TextIndex.load(tmp_path / "model", model)
    other = hb.load(tmp_path / "model")
    other.hash_ = "another"
    with pytest.raises(hb.BundleError, match="another model"):
        hb.TextIndex.load(tmp_path / "index", other)


def test_the_graph_finds_what_the_product_finds(index):
    pytest.importorskip("faiss")
    exact = index.search(["red dog", "fish"], k=3)
    found = index.approximate().search(["red dog", "fish"], k=3)
    np.testing.assert_allclose(found["score"], exact["score"], atol=1e-5)


def test_mistakes_are_sentences(model, index, corpus):
    with pytest.raises(hb.DataError, match="has no column 'txt'"):
        hb.TextIndex.build(model, corpus, "txt")
    with pytest.raises(hb.DataError, match="name a column of texts"):
        read_corpus(pl.DataFrame({"text": [1]}), "text")
    with pytest.raises(hb.DataError, match="holds no text"):
        read_corpus(pl.DataFrame({"text": [""]}), "text")
    with pytest.raises(hb.ConfigError, match="no column 'answers'"):
        index.answer(["red"], "answers")
    with pytest.raises(hb.ConfigError, match="asks for nothing"):
        index.search(["red"], k=0)
    with pytest.raises(hb.ConfigError, match="no cosine"):
        index.duplicates(2.0)
