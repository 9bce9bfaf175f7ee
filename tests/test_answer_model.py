"""The model of answers: pretrained or from scratch, saved and loaded, on long passages, and its mistakes."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import habitus as hb
from habitus.errors import ConfigError, DataError
from habitus.model import load
from habitus.training import Training
from tests.squad import WORDS, questions
from tests.tiny_bert import tiny_bert

DATA = hb.AnswerData(max_length=60, max_question_length=10, overlap=10)
FEW = Training(epochs=1, threads=1, tracker=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("tiny"), words=WORDS, positions=80)


def made(backbone=None, *, training=FEW, task=None, data=DATA, **parts):
    return hb.SequenceModel(task or hb.Answer(), backbone=backbone, data=data, training=training, **parts)


LONGER = Training(epochs=10, batch_rows=16, learning_rate=5e-3, threads=1, tracker=None)


@pytest.fixture(scope="module")
def taught():
    """Return a model that has learned which word answers which question, and its table."""
    table = questions(300, people=1, unanswerable=0.25)
    small = hb.GRU(hidden_size=32, n_layers=1, bidirectional=True, dropout=0.0)
    return made(small, training=LONGER).fit(table), table


def test_it_learns_to_answer_and_to_say_that_there_is_no_answer(taught):
    found = taught[0].evaluation_
    assert found.metrics["token_f1"].value > 0.9
    assert found.metrics["no_answer_exact"].value > 0.8 and found.metrics["has_answer_exact"].value > 0.8
    assert found.baselines.keys() == {rival.name for rival in taught[0].baselines_}
    assert found.differences["model - commonest answer in the passage"]["token_f1"].low > 0


def test_a_pretrained_encoder_learns_to_answer(tmp_path):
    fresh = tiny_bert(tmp_path, words=WORDS, positions=80, std=None)
    model = made(hb.Pretrained(fresh, rate=1.0, dropout=0.0), training=LONGER)
    assert model.fit(questions(300, people=1, unanswerable=0)).evaluation_.metrics["exact"].value > 0.9


def test_answers_carry_their_characters_and_probability(taught):
    model, table = taught
    answers = model.predict(table)
    assert answers.columns == ["row", "question", "answer", "score", "start", "end"]
    for passage, answer, start, end in zip(
        table["context"], answers["answer"], answers["start"], answers["end"], strict=True
    ):
        assert (answer is None) == (start is None)
        assert answer is None or passage[start:end] == answer
    assert answers["score"].is_between(0, 1).all() and answers["answer"].null_count() > 0


def test_several_answers_to_one_question(taught):
    model, _ = taught
    found = model.ask("where does ann live ?", "ann  lives in oslo . ann works as a baker .", k=4)
    assert found["rank"].to_list() == [1, 2, 3, 4] and found["answer"][0] == "oslo" and found["start"][0] == 14
    assert None in model.ask("where does ann live ?", "ann lives in oslo .", k=90)["answer"].to_list()
    assert found["score"].sum() <= 1 + 1e-9
    two = model.ask(["where does ann live ?", "where does bo live ?"], "ann lives in oslo . ann works as a baker .")
    assert two["answer"].to_list() == ["oslo", None]


def test_a_saved_model_answers_the_same_and_keeps_its_threshold(taught, tmp_path):
    model, table = taught
    model.save(tmp_path / "model")
    same = load(tmp_path / "model")
    assert same.threshold_ == model.threshold_ is not None
    assert f"{model.threshold_:+.2f} or more" in (tmp_path / "model" / "README.md").read_text()
    assert_frame_equal(model.predict(table, k=3), same.predict(table, k=3), abs_tol=1e-6)
    assert same.evaluate(table).to_json() == model.evaluate(table).to_json()


def test_a_long_passage_is_read_to_its_end(taught):
    model, _ = taught
    passage = "the judge is in the a . " * 20 + "ann"
    rows = model.encoder_.encode(pl.Series(["q"]), pl.Series([passage]), [()])
    n = len(rows.context_ids.values)
    spans = model._spans(rows, 30 * n)
    assert len(model._windows(rows)) == 3 and n == 141
    assert set(spans.first[spans.first >= 0].tolist()) == set(range(n)) == set(spans.last[spans.last >= 0].tolist())
    assert model.ask("q", passage, k=30 * n)["end"].max() == len(passage)


@pytest.mark.parametrize("adapter", ["lora", "prefix", "bottleneck"])
def test_adapters_are_trained_and_saved(folder, tmp_path, adapter):
    table = questions(60, people=1)
    model = made(hb.Pretrained(folder, adapter=adapter, rank=2)).fit(table)
    model.save(tmp_path / "model")
    assert_frame_equal(model.predict(table), load(tmp_path / "model").predict(table), abs_tol=1e-6)


def test_without_unanswerable_questions_it_always_answers():
    table = questions(60, unanswerable=0)
    model = made(hb.GRU(hidden_size=16, n_layers=1, bidirectional=True)).fit(table)
    assert model.threshold_ is None and model.predict(table)["answer"].null_count() == 0
    assert set(model.evaluation_.metrics) == {"token_f1", "exact"}
    assert model.evaluation_.protocol["no answer is given"] == "never"


def test_a_threshold_that_is_given_is_taken():
    small = hb.GRU(hidden_size=16, n_layers=1, bidirectional=True)
    model = made(small, task=hb.Answer(threshold=-1e9)).fit(questions(60))
    assert model.threshold_ == -1e9 and model.predict(questions(20))["answer"].null_count() == 20


def test_a_passage_is_on_one_side_only():
    table = pl.concat([questions(50), questions(50).with_columns(question=pl.lit("who ?"), answer=pl.lit(""))])
    prepared = made().prepare(table)
    sides = pl.DataFrame({"passage": prepared.rows.contexts, "part": prepared.part})
    assert sides.group_by("passage").agg(pl.col("part").n_unique())["part"].max() == 1


def test_files_that_judge_keep_their_passages_out_of_training(tmp_path):
    questions(40).write_parquet(tmp_path / "test.parquet")
    split = hb.AnswerSplit(test_examples=str(tmp_path / "test.parquet"))
    prepared = made(split=split).prepare(questions(80))  # the first 40 are those of the file
    counts = prepared.counts()
    assert counts["test"] == 40 and counts["left-out"] == 40
    assert any("40 questions are left out" in note for note in prepared.notes)


def test_a_question_that_is_too_long_is_said():
    table = questions(60).with_columns(question=pl.col("question") + " in the town" * 9)
    assert any("max_question_length=10" in note for note in made().prepare(table).notes)


def test_an_answer_within_a_token_is_said(folder):
    table = questions(60).with_columns(answer=pl.col("answer").str.slice(0, 2))
    assert any("begin or end within a token" in note for note in made(hb.Pretrained(folder)).prepare(table).notes)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: made(hb.GRU()), "an answer depends on them"),
        (lambda folder: made(data=hb.AnswerData(tokenizer="subwords")), "subwords"),
        (lambda folder: made(hb.Pretrained(folder), data=hb.AnswerData(tokenizer="chinese")), "is not that of the"),
        (lambda folder: made(hb.Pretrained(folder), data=hb.AnswerData()), "more than .* has positions"),
        (lambda folder: made(task=hb.Answer(max_answer_length=0)), "keeps no token"),
        (lambda folder: made(options=hb.AnswerOptions(baselines=("windows",))), "sliding window"),
        (lambda folder: made(split=hb.AnswerSplit(validation=0.5, test=0.5)), "nothing to train on"),
    ],
)
def test_mistakes_get_a_sentence(folder, make, said):
    with pytest.raises(ConfigError, match=said):
        make(folder).fit(questions(20))


def test_nothing_to_learn_from_gets_a_sentence():
    with pytest.raises(DataError, match="No training question has an answer"):
        made().fit(questions(30, unanswerable=1.0))


def test_questions_and_passages_go_together(taught):
    with pytest.raises(DataError, match="2 questions and 3 passages"):
        taught[0].ask(["a", "b"], ["a", "b", "c"])
    with pytest.raises(ConfigError, match="k=0"):
        taught[0].ask("a", "b", k=0)


def test_the_same_question_alone_and_among_others(taught):
    model, table = taught
    together = model.predict(table)
    for row in (0, 7):
        alone = model.predict(table[row : row + 1])
        assert alone["answer"][0] == together["answer"][row]
        assert np.isclose(alone["score"][0], together["score"][row], atol=1e-5)


def test_many_questions_are_answered_some_after_others(taught, monkeypatch):
    model, table = taught
    whole = model.predict(table, k=2)
    monkeypatch.setattr("habitus.model.answer._QUESTIONS_AT_ONCE", 7)
    assert_frame_equal(whole, model.predict(table, k=2), abs_tol=1e-5)
