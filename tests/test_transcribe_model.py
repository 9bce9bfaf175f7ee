"""Words coded as tones: learned in seconds, told at once, saved and loaded, by Python and on the command line."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from habitus.backbones import GRU, Transformer
from habitus.cli import app
from habitus.data.speech_split import SpeechSplit
from habitus.errors import ConfigError, DataError
from habitus.model import BACKBONES, SequenceModel, load
from habitus.model.transcribe import SpeechOptions, TranscribeModel
from habitus.tasks.transcribe import Transcribe
from habitus.training import Training
from tests.tones import spoken, write_corpus, write_wav

QUICK = Training(epochs=14, learning_rate=5e-3, batch_rows=8, average=0.9, patience=14, tracker=None, threads=1)
PLAIN = Transcribe(augment=False, speed=0.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    return folder / "sound", write_corpus(folder, n=120)


@pytest.fixture(scope="module")
def fitted(corpus):
    backbone = Transformer(hidden_size=32, n_layers=1, causal=False, time_aware=False)
    return SequenceModel(PLAIN, backbone, training=QUICK).fit(*corpus)


def test_words_of_tones_are_learned(fitted):
    found = fitted.evaluation_
    assert found.n == 24 and found.metrics["cer"].value < 0.1
    assert found.metrics["wer"].low <= found.metrics["wer"].value <= found.metrics["wer"].high
    assert set(found.baselines) == {"commonest transcript", "nearest by time warping"}
    assert all(one["wer"].high < 0 for one in found.differences.values())


def test_saved_and_loaded_it_says_the_same(fitted, corpus, tmp_path):
    fitted.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert isinstance(again, TranscribeModel)
    assert again.predict(corpus[0]).equals(fitted.predict(corpus[0]))
    found = again.evaluate(*corpus)
    assert found.n == 24 and found.metrics["cer"].value == fitted.evaluation_.metrics["cer"].value
    assert [rival.name for rival in again.baselines_] == list(found.baselines)


def test_alone_and_in_company_it_says_the_same(fitted, corpus):
    whole = fitted.predict(corpus[0])
    for row in (0, 7, 31):
        name, text, score = whole.row(row)
        (alone,) = fitted.predict(corpus[0] / f"{name}.wav").iter_rows()
        assert alone[:2] == (name, text) and alone[2] == pytest.approx(score, abs=1e-5)


def test_another_sampling_rate_is_heard_as_well(fitted, tmp_path):
    pytest.importorskip("soxr")
    rng = np.random.default_rng(5)
    for rate in (8000, 22050):
        write_wav(tmp_path / str(rate) / "a.wav", spoken("acd", rng, rate), rate=rate)
        assert fitted.predict(tmp_path / str(rate))["prediction"].to_list() == ["acd"]


def test_a_beam_is_no_worse(fitted, corpus):
    greedy = fitted.evaluate(*corpus, include_training=True).metrics["cer"].value
    beam = load_with(fitted, Transcribe(decoder="beam", augment=False, speed=0.0))
    assert beam.evaluate(*corpus, include_training=True).metrics["cer"].value <= greedy + 0.02


def load_with(model, task):
    model = __import__("copy").copy(model)
    model.task = task
    return model


def test_what_was_trained_on_is_left_out(fitted, corpus):
    note = "96 of 120 utterances were used in training and are left out."
    assert note in fitted.evaluate(*corpus).notes
    assert fitted.evaluate(*corpus, include_training=True).n == 120


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_trains_and_answers(corpus, name):
    options = {"name": name, "hidden_size": 8, **TranscribeModel.backbone_defaults(None, name)}
    model = SequenceModel(
        Transcribe(),
        TranscribeModel.backbone_from(options),
        training=Training(epochs=1, tracker=None, threads=1),
        options=SpeechOptions(baselines=("commonest transcript",)),
    ).fit(*corpus)
    assert np.isfinite(model.history_[0]["train_loss"]) and model.predict(corpus[0]).height == 120


def test_the_same_seed_gives_the_same_weights(corpus):
    found = [
        SequenceModel(
            Transcribe(),
            GRU(hidden_size=8, bidirectional=True),
            training=Training(epochs=2, tracker=None, threads=1),
            options=SpeechOptions(baselines=()),
            seed=seed,
            split=SpeechSplit(seed=0),
        ).fit(*corpus)
        for seed in (0, 0, 1)
    ]
    losses = [model.history_[-1]["train_loss"] for model in found]
    assert losses[0] == losses[1] != losses[2]


def test_transcripts_that_are_too_long_are_left_out_and_said(tmp_path):
    table = write_corpus(tmp_path, n=20)
    text = table.read_text("utf-8").splitlines()
    text = [line if number % 3 else line.replace("\t", "\t" + "abcd " * 40, 1) for number, line in enumerate(text)]
    text[0] = "file\ttext\tspeaker"
    table.write_text("\n".join(text), "utf-8")
    model = SequenceModel(Transcribe(), split=SpeechSplit(validation=0.2))
    prepared = model.prepare(tmp_path / "sound", table)
    (note,) = [note for note in prepared.notes if "left out" in note]
    assert (prepared.part == "left-out").sum() == int(note.split()[0]) > 0


def test_characters_that_training_never_saw_are_said(corpus, tmp_path):
    table = pl.read_csv(corpus[1], separator="\t").with_columns(
        pl.when(pl.col("speaker") == "speaker 1").then(pl.lit("xyz")).otherwise(pl.col("text")).alias("text")
    )
    model = SequenceModel(Transcribe(), split=SpeechSplit("speaker", held_out=("speaker 1",)))
    notes = model.prepare(corpus[0], table).notes
    assert notes == ("72 characters of the transcripts that judge were never seen in training; they count as errors.",)


def test_what_cannot_be_is_refused(corpus, tmp_path):
    with pytest.raises(ConfigError, match="no rival 'dtw'"):
        SpeechOptions(baselines=("dtw",))
    with pytest.raises(ConfigError, match="pools nothing"):
        SequenceModel(Transcribe(), Transformer(causal=False, pooling="cls")).fit(*corpus)
    with pytest.raises(DataError, match="neither a file nor a folder"):
        SequenceModel(Transcribe()).fit(tmp_path / "absent", corpus[1])


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, (words, result.output)
    return result


def test_the_commands_run(corpus, tmp_path):
    audio, table = corpus
    out = tmp_path / "run"
    quick = ("--epochs", 1, "--quiet", "--set", "backbone.hidden_size=8", "--set", 'training.tracker="tensorboard"')
    found = run("fit", "transcribe", "--audio", audio, "--transcripts", table, "--out", out, "--split-by", "speaker",
                "--backbone", "gru", *quick, "--json")  # fmt: skip
    document = json.loads(found.stdout)
    assert document["n"] == 24 and set(document["metrics"]) == {"wer", "cer", "exact"}
    assert (out / "report.html").is_file() and (out / "metrics.json").is_file()
    assert json.loads(run("evaluate", out, "--json").stdout)["n"] == 24
    run("predict", out, "--audio", audio, "--out", tmp_path / "said.parquet")
    assert pl.read_parquet(tmp_path / "said.parquet").columns == ["file", "prediction", "log_probability"]
    run("report", out)
    compared = run("compare", "transcribe", "--audio", audio, "--transcripts", table, "--out", tmp_path / "both",
                   "--backbones", "gru,rnn", "--set", "backbone.name=gru", *quick, "--json")  # fmt: skip
    assert set(json.loads(compared.stdout)["models"]) >= {"GRU", "RNN"}
