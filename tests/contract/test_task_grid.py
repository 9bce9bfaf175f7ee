"""Every backbone with every task whose data carries its own answers: fit, judge, predict, save, load, same answer, the
same alone as among others.

A task joins by being registered in `habitus.model` and by a line in `MADE`, which says how to make it and its data.
"""

import json
import wave
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import habitus as hb
from habitus.model import SequenceModel, load
from habitus.model.task_model import TaskModel
from habitus.training import Training
from tests.squad import questions

START = datetime(2024, 1, 1, tzinfo=UTC)
TRAINING = Training(epochs=1, batch_tokens=512, threads=1, tracker=None)


@dataclass(frozen=True)
class Made:
    """How a task is made, the sources that it is fitted on, and those of one of its units alone."""

    task: Callable[[], Any]
    sources: Callable[[Any], tuple[Any, ...]]
    alone: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    options: Callable[[], Any] = lambda: None


def tagged(folder):
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(40), rng.integers(1, 12, 40))
    skill = rng.integers(0, 4, len(who))
    return (
        pl.DataFrame(
            {
                "user_id": [f"user {one:02}" for one in who],
                "timestamp": [START + timedelta(minutes=m) for m in range(len(who))],
                "skill": [f"s{one}" for one in skill],
                "correct": np.where(rng.random(len(who)) < 0.2 + 0.2 * skill, "yes", "no"),
            }
        ),
    )


def series(folder):
    rng, hours = np.random.default_rng(0), np.arange(24 * 10)
    one = [
        pl.DataFrame(
            {
                "series_id": name,
                "timestamp": [START + timedelta(hours=int(hour)) for hour in hours],
                "load": size * (1 + 0.3 * np.sin(2 * np.pi * hours / 24)) + rng.normal(0, 0.1 * size, len(hours)),
            }
        )
        for name, size in (("north", 1.0), ("south", 5.0))
    ]
    return (pl.concat(one),)


def pairs(folder):
    rng = np.random.default_rng(0)
    words = np.array(["red", "blue", "cat", "dog", "runs", "sleeps"])
    said = [" ".join(rng.choice(words, rng.integers(2, 6))) for _ in range(80)]
    return (pl.DataFrame({"given": said, "turned": [" ".join(reversed(one.split())) for one in said]}),)


def recordings(folder):
    rng, rate = np.random.default_rng(0), 8000
    rows = []
    for number in range(24):
        text = "".join(rng.choice(["a", "b"], rng.integers(1, 4)))
        tones = [np.sin(2 * np.pi * (400 if sound == "a" else 1500) * np.arange(rate // 10) / rate) for sound in text]
        with wave.open(str(folder / f"{number:02}.wav"), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            heard = np.concatenate(tones) + rng.normal(0, 0.01, len(tones) * (rate // 10))  # no two are the same
            file.writeframes((12_000 * heard).astype("<i2").tobytes())
        rows.append({"file": f"{number:02}", "text": text})
    transcripts = folder / "transcripts.csv"
    pl.DataFrame(rows).write_csv(transcripts)
    return str(folder), str(transcripts)


def one_recording(sources):
    folder = Path(sources[0])
    alone = folder.with_name(f"{folder.name}-alone")
    alone.mkdir(exist_ok=True)
    (alone / "00.wav").write_bytes((folder / "00.wav").read_bytes())
    return (str(alone),)


MADE = {
    "answer": Made(lambda: hb.Answer(), lambda folder: (questions(60),), lambda sources: (sources[0][:1],)),
    "embed": Made(
        lambda: hb.Embed(),
        tagged,
        lambda sources: (sources[0].filter(pl.col("user_id") == "user 03"),),
        lambda: hb.EmbedOptions(shortest=1),
    ),
    "tag": Made(
        lambda: hb.Tag("correct", label_history=True),
        tagged,
        lambda sources: (sources[0].filter(pl.col("user_id") == "user 03"),),
    ),
    "forecast": Made(
        lambda: hb.Forecast(("load",), horizon=6, context=24),
        series,
        lambda sources: (sources[0].filter(pl.col("series_id") == "south"),),
        lambda: hb.ForecastOptions(baselines=("last value", "seasonal naive", "linear")),  # ETS takes a minute
    ),
    "generate": Made(lambda: hb.Generate("given", "turned"), pairs, lambda sources: (sources[0][:1],)),
    "transcribe": Made(lambda: hb.Transcribe(), recordings, one_recording),
}
TASKS = [name for name, kind in SequenceModel.kinds.items() if issubclass(kind, TaskModel)]
GRID = [(task, backbone) for task in TASKS for backbone in ("rnn", "lstm", "gru", "cnn", "transformer")]
GRID.remove(("generate", "cnn"))  # encoder-decoders are made of the others


@pytest.fixture(scope="module", params=GRID, ids="-".join)
def fitted(request, tmp_path_factory):
    """Return the fitted model of one cell, its sources, and how it was made."""
    name, backbone = request.param
    made, kind = MADE[name], SequenceModel.kinds[name]
    task = made.task()
    narrow = {"hidden_size": 16, "n_layers": 1, **({"n_heads": 2} if backbone == "transformer" else {})}
    options = {**kind.backbone_defaults(task, backbone), "name": backbone, **narrow}
    model = SequenceModel(task, kind.backbone_from(options), training=TRAINING, options=made.options())
    sources = made.sources(tmp_path_factory.mktemp(name))
    return model.fit(*sources), sources, made


def asked(model, sources):
    """Return those of the sources that are predicted from."""
    return sources[: len(model.predict_sources or model.sources)]


def test_the_model_is_judged_beside_its_rivals(fitted):
    model, _, _ = fitted
    document = model.evaluation_.to_json()
    json.dumps(document, allow_nan=False)
    assert document["n"] > 0 and document["metrics"][model.task.monitor]["value"] is not None
    assert document["baselines"].keys() == {rival.name for rival in model.baselines_} != set()
    assert all(model.task.monitor in found for found in document["differences"].values())


def test_judging_the_same_data_again_leaves_out_what_was_trained_on(fitted):
    model, sources, _ = fitted
    again = model.evaluate(*sources)
    assert again.n == model.evaluation_.n
    first = model.evaluation_.metrics[model.task.monitor].value
    assert again.metrics[model.task.monitor].value == pytest.approx(first, abs=1e-5)
    assert any("left out" in note for note in again.notes)


def test_a_saved_model_answers_and_is_judged_as_before(fitted, tmp_path):
    model, sources, _ = fitted
    model.save(tmp_path / "model")
    same = load(tmp_path / "model")
    given = asked(model, sources)
    assert_frame_equal(model.predict(*given), same.predict(*given), abs_tol=1e-6)
    assert same.evaluate(*sources).to_json()["baselines"] == model.evaluate(*sources).to_json()["baselines"]


def test_a_unit_is_answered_alone_as_among_others(fitted):
    model, sources, made = fitted
    together, alone = model.predict(*asked(model, sources)), model.predict(*asked(model, made.alone(sources)))
    key = next(name for name in ("user_id", "series_id", "file", "given", "row") if name in alone.columns)
    chosen = together.filter(pl.col(key) == alone[key][0])[: alone.height]
    assert alone.height and chosen.height == alone.height
    assert_frame_equal(chosen, alone, abs_tol=1e-5)


def test_every_task_with_its_own_answers_is_in_the_grid():
    assert set(TASKS) == set(MADE)
