"""A model of written sequences as a whole: it learns, judges beside its rivals, is saved and loaded, and answers."""

import json

import numpy as np
import polars as pl
import pytest

import habitus as hb
from habitus.errors import ConfigError, DataError

ALPHABET = list("abcdefgh")


def table(n, seed, lists=False):
    """Copy a word list backwards: short to learn, and impossible without looking at the source."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(ALPHABET, rng.integers(2, 5)).tolist() for _ in range(n)]
    if lists:
        return pl.DataFrame({"past": rows, "next": [row[::-1] for row in rows]})
    return pl.DataFrame({"past": [" ".join(row) for row in rows], "next": [" ".join(row[::-1]) for row in rows]})


def model(kind="transformer", epochs=2, **options):
    return hb.SequenceModel(
        hb.Generate("past", "next"),
        backbone=hb.EncoderDecoder(kind, hidden_size=32, n_layers=1, n_heads=2, dropout=0.0),
        data=hb.PairData(tokens="words", vocabulary_size=100),
        training=hb.Training(epochs=epochs, batch_rows=32, learning_rate=1e-2, tracker=None, patience=99),
        **options,
    )


@pytest.fixture(scope="module")
def fitted():
    return model("gru", epochs=1).fit(table(400, 0))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("transformer", 0.3), ("gru", 0.8)])
def test_a_model_learns_to_write_backwards(kind, least):
    found = model(kind, epochs=12).fit(table(1500, 0)).evaluation_
    assert found.metrics["exact"].value > least
    assert found.differences["model - translation memory"]["bleu"].low > 0


def test_an_evaluation_has_rivals_intervals_and_the_protocol(fitted):
    found = fitted.evaluation_
    assert set(found.metrics) == {"bleu", "chrf", "exact", "token_accuracy"}
    assert set(found.baselines) == {"copy of the source", "translation memory"}
    assert "signature nrefs:1" in found.protocol["BLEU"] and "tok:13a" in found.protocol["BLEU"]
    kinds = [panel["kind"] for panel in found.panels]
    assert kinds == ["table", "heat"]
    json.dumps(found.panels)


def test_a_source_that_trained_does_not_judge(fitted):
    everything = fitted.evaluate(table(400, 0))
    assert any("used in training and are left out" in note for note in everything.notes)
    assert everything.n == fitted.evaluation_.n


def test_a_saved_model_writes_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    again, asked = hb.load(tmp_path / "model"), table(30, 5)
    assert again.predict(asked)["generated"].to_list() == fitted.predict(asked)["generated"].to_list()
    assert again.backbone == fitted.backbone and again.task == fitted.task
    other = table(60, 7)
    assert again.evaluate(other).baselines == fitted.evaluate(other).baselines
    assert not list((tmp_path / "model").rglob("*.pkl"))


def test_predictions_need_no_target_and_keep_the_other_columns(fitted):
    asked = pl.DataFrame({"id": [7, 8, 9], "past": ["a b", None, "c d"]})
    found = fitted.predict(asked)
    assert found.columns == ["id", "past", "generated"] and found["id"].to_list() == [7, 9]
    assert fitted.rejects_.counts == {"'past' is missing": 1}


def test_a_row_is_answered_the_same_alone_and_in_a_batch(fitted):
    asked = table(40, 9)
    together = fitted.predict(asked)["generated"].to_list()
    assert [fitted.predict(asked[row])["generated"][0] for row in range(0, 40, 8)] == together[::8]


def test_greedy_a_beam_of_one_and_a_draw(fitted):
    asked = table(20, 11)
    found = {}
    for name, options in {
        "greedy": hb.GenerateOptions("greedy"),
        "one": hb.GenerateOptions("beam", beam_size=1),
        "cold": hb.GenerateOptions("sample", temperature=0),
        "drawn": hb.GenerateOptions("sample", seed=3),
    }.items():
        found[name] = fitted.set_params(options=options).predict(asked)["generated"].to_list()
    fitted.set_params(options=hb.GenerateOptions())
    assert found["greedy"] == found["one"] == found["cold"] != found["drawn"]


def test_attention_of_one_pair_is_shared_out(fitted):
    across, down, weights = fitted.align("a b c", "c b a")
    assert (across, down) == (["a", "b", "c"], ["c", "b", "a", "<end>"])
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def test_lists_are_written_for_lists():
    fitted = model("gru", epochs=1).fit(table(200, 1, lists=True))
    found = fitted.predict(table(3, 2, lists=True).drop("next"))
    assert found["generated"].dtype == pl.List(pl.String)
    assert set(fitted.evaluation_.metrics) == {"bleu", "exact", "token_accuracy"}


def test_files_of_a_split_judge_and_their_sources_do_not_train(tmp_path):
    train, test = table(300, 0), pl.concat([table(40, 3), table(300, 0)[:5]])
    test.write_parquet(tmp_path / "test.parquet")
    one = model(split=hb.PairSplit(test_pairs=str(tmp_path / "test.parquet")))
    prepared = one.prepare(train)
    assert prepared.counts()["test"] == 45
    judged = set(test["past"])
    kept = prepared.keys.filter(pl.Series(prepared.part == "train"))
    assert not judged & set(kept) and prepared.counts()["left-out"] >= 5
    assert any("left out of training" in note for note in prepared.notes)


def test_the_vocabulary_is_of_the_training_side_only():
    pairs = table(300, 0)
    prepared = model().prepare(pairs)
    is_test = pl.Series(prepared.part == "test")
    other = pairs.with_columns(
        pl.when(is_test).then(pl.lit("new words ") + pl.col("next")).otherwise(pl.col("next")).alias("next")
    )
    assert model().prepare(other).encoder.to_json() == prepared.encoder.to_json()


def test_a_backbone_of_another_task_is_refused():
    with pytest.raises(ConfigError, match="EncoderDecoder"):
        hb.SequenceModel(hb.Generate("past", "next"), backbone=hb.GRU()).fit(table(20, 0))


def test_text_is_refused_by_a_model_of_lists():
    fitted = model("gru", epochs=1).fit(table(100, 1, lists=True))
    with pytest.raises(DataError, match="trained on lists"):
        fitted.predict(table(3, 2))
