"""Texts with every backbone: fit, predict, save, load, same answer, padding ignored; tags and a log as words too."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from habitus.backbones import GRU, LSTM, RNN, Transformer
from habitus.backbones.pretrained import Pretrained
from habitus.data.options import Data
from habitus.data.split import Split
from habitus.data.tags.split import TagSplit
from habitus.errors import ConfigError
from habitus.model import LabelledModel, Options, SequenceModel, load
from habitus.model.registry import TASKS
from habitus.tasks import Classify, Regress, Tag
from habitus.training import Callback, Training
from tests.tiny_bert import tiny_bert

ADAPTERS = ("none", "lora", "adalora", "prefix", "bottleneck")
SCRATCH = {
    "transformer": Transformer(hidden_size=8, causal=False, time_aware=False),
    **{kind.__name__.lower(): kind(hidden_size=8, bidirectional=True) for kind in (GRU, LSTM, RNN)},
}
BODIES = [*SCRATCH, *ADAPTERS, "frozen"]
QUICK = Training(epochs=2, batch_rows=16, learning_rate=0.01, tracker=None, device="cpu")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("tiny"))


def body(name, bert):
    if name in SCRATCH:
        return SCRATCH[name]
    return Pretrained(bert, frozen=True) if name == "frozen" else Pretrained(bert, adapter=name, rank=2)


def reviews(n=80, seed=0):
    rng = np.random.default_rng(seed)
    good = np.arange(n) % 2
    texts = [
        " ".join(rng.choice(["film", "a", "tea", "phone", "very", "good" if g else "bad"], rng.integers(1, 14)))
        for g in good
    ]
    texts[5] = ""
    return pl.DataFrame({"review": texts, "mood": np.array(["bad", "good"])[good], "stars": 1.0 + 4 * good})


@pytest.fixture(scope="module")
def fitted(bert):
    known = {}

    def of(name, task="classify"):
        if (name, task) not in known:
            target = Classify("mood") if task == "classify" else Regress("stars")
            table = reviews().select("review", "mood" if task == "classify" else "stars")
            model = SequenceModel(
                target,
                body(name, bert),
                data=Data(text="review", max_length=30),
                split=Split(validation=0.25, test=0.25),
                training=QUICK,
                options=Options(baselines=()),
            )
            known[name, task] = model.fit(examples=table), table
        return known[name, task]

    return of


def answers(model, table):
    return model.predict(examples=table).select(pl.selectors.float()).to_numpy()


@pytest.mark.parametrize("name", BODIES)
def test_it_trains_answers_and_is_judged(fitted, name):
    model, table = fitted(name)
    found = model.predict(examples=table)
    assert found.columns == ["row", "prediction", "probability"] and found["row"].to_list() == list(range(1, 81))
    assert found["probability"].std() > 1e-4 and model.evaluation_.n > 10 and len(model.history_) == 2
    assert not getattr(model.network_.embed, "use_time", False)  # times that are made up reach no network


@pytest.mark.parametrize("name", ["transformer", "none", "lora"])
def test_numbers_are_told_from_texts(fitted, name):
    model, table = fitted(name, "regress")
    assert np.isfinite(answers(model, table)).all() and "mae" in model.evaluation_.metrics


@pytest.mark.parametrize("name", BODIES)
def test_saved_and_loaded_it_gives_the_same_bits(fitted, tmp_path, name):
    model, table = fitted(name)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.predict(examples=table).equals(model.predict(examples=table))
    assert again.evaluate(examples=table).to_json() == model.evaluate(examples=table).to_json()
    assert {file.suffix for file in (tmp_path / "model").iterdir()} <= {".json", ".md", ".safetensors"}


@pytest.mark.parametrize("name", BODIES)
def test_padding_and_company_change_nothing(fitted, name):
    model, table = fitted(name)
    whole = answers(model, table)
    for rows in ([5], [7], [1, 7, 5, 15], [71, 3]):
        assert np.abs(answers(model, table[rows]) - whole[rows]).max() <= 1e-5


@pytest.mark.parametrize("name", ["lstm", "none", "bottleneck"])
def test_the_order_of_words_tells(fitted, name):
    model, table = fitted(name)
    turned = table.with_columns(pl.col("review").str.split(" ").list.reverse().list.join(" "))
    assert np.abs(answers(model, turned) - answers(model, table)).max() > 1e-6


def test_a_bundle_beside_a_named_encoder_holds_the_adapter_alone(fitted, tmp_path):
    sizes = {}
    for name in ("none", "lora", "frozen"):
        fitted(name)[0].save(tmp_path / name)
        sizes[name] = (tmp_path / name / "weights.safetensors").stat().st_size
    assert sizes["frozen"] < sizes["lora"] < 0.7 * sizes["none"]
    document = json.loads((tmp_path / "lora" / "model.json").read_text("utf-8"))
    assert len(document["backbone"]["base"]["sha256"]) == 64


@pytest.mark.parametrize("name", ["transformer", "none", "lora", "adalora", "prefix", "bottleneck"])
def test_a_stopped_run_goes_on_to_the_same_bits(bert, tmp_path, name):
    class Stop(Callback):
        seen = 0

        def on_batch(self, facts):
            self.seen += 1
            if self.seen == 5:
                raise KeyboardInterrupt

    def model():
        training = Training(epochs=3, batch_rows=16, tracker=None, device="cpu", checkpoint_every_s=0.0, threads=1)
        return SequenceModel(
            Classify("mood"), body(name, bert), data=Data(text="review", max_length=30), training=training,
            options=Options(baselines=()),
        )  # fmt: skip

    table = reviews().select("review", "mood")
    whole = model().fit(examples=table, folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        model().fit(examples=table, folder=tmp_path / "part", callbacks=[Stop()])
    again = model().fit(examples=table, folder=tmp_path / "part", resume=True)
    assert again.result_.resumed_at_step is not None
    assert (answers(again, table) == answers(whole, table)).all()


@pytest.mark.slow
def test_adalora_stopped_before_between_and_after_ranks_are_given_up_ends_in_the_same_bits(bert, tmp_path):
    class Stop(Callback):
        def __init__(self, after):
            self.left = after

        def on_batch(self, facts):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    def model():
        training = Training(epochs=3, batch_rows=4, tracker=None, device="cpu", checkpoint_every_s=0.0, threads=1,
                            learning_rate=0.01)  # fmt: skip
        return SequenceModel(
            Classify("mood"), body("adalora", bert), data=Data(text="review", max_length=30), training=training,
            options=Options(baselines=()),
        )  # fmt: skip

    table = reviews().select("review", "mood")
    whole = model().fit(examples=table, folder=tmp_path / "whole")
    n_steps = whole.history_[-1]["step"]
    assert n_steps > 36  # ranks are given up at steps 10 and 20, finally at 70 % of the steps, and kept out thereafter
    for after in (5, 9, 9, 9):  # each goes on one batch after the checkpoint of the one before
        with pytest.raises(KeyboardInterrupt):
            model().fit(examples=table, folder=tmp_path / "parts", resume=True, callbacks=[Stop(after)])
    again = model().fit(examples=table, folder=tmp_path / "parts", resume=True)
    assert again.result_.resumed_at_step > 0.7 * n_steps
    one, other = (load_file(tmp_path / part / "checkpoint" / "state.safetensors") for part in ("whole", "parts"))
    assert any((value == 0).any() for name, value in one.items() if name.startswith("network") and "lora_E" in name)
    assert one.keys() == other.keys() and any(name.startswith("carried/backbone/left/") for name in one)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_the_data_takes_over_the_tokenizer_of_the_encoder(bert):
    model = SequenceModel(Classify("mood"), Pretrained(bert), data=Data(text="review"))
    assert model.data.tokenizer == bert and not model._is_wide
    with pytest.raises(ConfigError, match="is not that of the pretrained encoder"):
        SequenceModel(Classify("mood"), Pretrained(bert), data=Data(text="review", tokenizer="subwords"))


def test_texts_are_read_both_ways_unless_another_backbone_is_given():
    backbone = SequenceModel(Classify("mood"), data=Data(text="review")).backbone
    assert not backbone.causal and not backbone.time_aware and SequenceModel(Classify("mood")).backbone.causal


def test_what_does_not_read_texts_says_so(bert):
    for made, said in (
        (lambda: SequenceModel(TASKS["next-event"]("item"), Pretrained(bert)), "reads texts"),
        (lambda: SequenceModel(TASKS["next-event"]("item"), data=Data(text="a")), "mean nothing to the task"),
        (lambda: SequenceModel(Classify("mood"), Pretrained(bert)), "name their column with text="),
        (lambda: SequenceModel(Classify("m"), data=Data(text="a"), options=Options(use_time=True)), "use_time=true"),
        (lambda: SequenceModel(Tag("t"), data=Data(words="a")), "words= is for a pretrained encoder"),
        (lambda: SequenceModel(Tag("t", label_history=True), Pretrained(bert)), "label_history=true"),
        (lambda: SequenceModel(Classify("mood"), data=Data(text="a")).predict(), "not fitted yet"),
    ):
        with pytest.raises(Exception, match=said):
            made()


def test_a_log_beside_texts_is_refused(fitted):
    model, table = fitted("gru")
    with pytest.raises(ConfigError, match="leave out events"):
        model.predict(table, table)
    with pytest.raises(ConfigError, match="give examples"):
        model.predict()


def shop(n=60, seed=0):
    """A log of words; whoever clicked tea last buys tea."""
    rng, start = np.random.default_rng(seed), datetime(2024, 1, 1, tzinfo=UTC)
    who = np.repeat(np.arange(n), rng.integers(2, 9, n))
    what = rng.choice(["click phone", "click_tea", "buy tea", "buy phone"], len(who))
    log = pl.DataFrame(
        {"user_id": who, "timestamp": [start + timedelta(hours=i) for i in range(len(who))], "action": what}
    )
    last = log.group_by("user_id", maintain_order=True).last()
    label = np.where(last["action"].str.ends_with("tea"), "tea", "phone")
    log = log.with_columns(kind=pl.Series(np.where(pl.Series(what).str.starts_with("buy"), "B", "C")))
    return log, pl.DataFrame({"user_id": last["user_id"], "cutoff": [start + timedelta(days=90)] * n, "next": label})


@pytest.mark.parametrize("name", ["gru", "none"])
def test_events_are_read_as_words(bert, tmp_path, name):
    log, examples = shop()
    model = SequenceModel(
        Classify("next"), body(name, bert), data=Data(words="action", max_length=38), split=Split(test=0.3),
        training=QUICK, options=Options(baselines=("bag + logistic regression",)),
    )  # fmt: skip
    model.fit(log.drop("kind"), examples)
    found = model.predict(log.drop("kind"), examples)
    assert found.columns == ["user_id", "cutoff", "prediction", "probability"] and found["probability"].std() > 1e-4
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").predict(log.drop("kind"), examples).equals(found)
    future = log.drop("kind").with_columns(pl.col("timestamp") + timedelta(days=200))
    assert model.predict(pl.concat([log.drop("kind"), future]), examples).equals(found)


def test_the_latest_event_is_written_first():
    from habitus.prepared import prepare

    log, examples = shop()
    data = Data(words="action", tokenizer="words")
    prepared = prepare(Classify("next"), log, examples, data, Split())
    names = prepared.encoder.fields["words"].values
    ids = prepared.encoded.take(np.array([0])).ids["words"]
    own = log.filter(pl.col("user_id") == 0)["action"].str.replace_all("_", " ").to_list()
    assert " ".join(names[i - 3] for i in ids if i > 2) == " , ".join(reversed(own))
    assert isinstance(prepared.encoder.schema.fields, dict) and LabelledModel.reads_text


@pytest.mark.parametrize("options", [{"rate": 1.0}, {"adapter": "lora"}])
def test_events_are_tagged_as_words(bert, tmp_path, options):
    log, _ = shop()
    learns = "rate" in options  # enough for a tiny encoder of random weights
    training = replace(QUICK, epochs=16 if learns else 2, learning_rate=0.005, batch_rows=8, average=0.0)
    model = SequenceModel(
        Tag("kind", direction="both"), Pretrained(bert, **options), data=Data(words="action", max_length=4),
        split=TagSplit(test=0.3), training=training,
    )  # fmt: skip
    model.fit(log)
    assert model.encoder_.words.n_pieces == 2 and model.encoder_.words.fields == ("action",)
    assert (
        "rate" not in options or model.evaluation_.metrics["auc"].value > 0.9
    )  # "buy" or "click" is a word of the event itself
    found = model.predict(log.drop("kind"))
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").predict(log.drop("kind")).equals(found)
    one = log.filter(pl.col("user_id") == 7).drop("kind")
    alone = model.predict(one)["probability"].to_numpy()
    assert np.abs(alone - found.filter(pl.col("user_id") == 7)["probability"].to_numpy()).max() < 1e-5
