from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from habitus.backbones import GRU
from habitus.data.events import read_events
from habitus.data.examples import read_examples
from habitus.data.sound_log import audio_of, is_sound, sound_log
from habitus.errors import DataError
from habitus.fields import Number
from habitus.model import Options, SequenceModel, load
from habitus.tasks import Classify
from habitus.training import Training
from tests.tones import TONES, spoken, tone, write_wav


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A hundred and twenty recordings of one letter each, and a table of file, letter and how long it is."""
    folder, rng = tmp_path_factory.mktemp("letters"), np.random.default_rng(0)
    letters = rng.choice(list(TONES), 120)
    for number, letter in enumerate(letters):
        write_wav(folder / "sound" / f"u{number:02d}.wav", spoken(letter, rng))
    table = pl.DataFrame({"file": [f"u{i:02d}.wav" for i in range(120)], "letter": letters})
    table.write_csv(folder / "labels.csv")
    return folder / "sound", folder / "labels.csv"


def test_a_frame_is_an_event_and_a_band_a_field(tmp_path):
    write_wav(tmp_path / "b.wav", tone(900.0, 0.2))
    write_wav(tmp_path / "a.wav", tone(400.0, 0.1))
    log = read_events(tmp_path)
    frame = log.frame.collect()
    assert log.schema.entity == "file" and list(log.schema.fields) == [f"mel_{i:02d}" for i in range(40)]
    assert {spec.group for spec in log.schema.fields.values()} == {"mel 8000 Hz"}
    assert frame["file"].value_counts(sort=True).rows() == [("b", 9), ("a", 4)]
    assert frame["timestamp"][:2].to_list() == [
        datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, microsecond=20_000, tzinfo=UTC)
    ]  # fmt: skip


def test_bad_files_are_rejects_of_the_log(tmp_path):
    write_wav(tmp_path / "a.wav", tone(400.0))
    (tmp_path / "b.wav").write_bytes(b"")
    assert dict(read_events(tmp_path).rejects.counts) == {"the file is empty (0 bytes)": 1}


def test_a_fitted_schema_says_at_which_rate_to_read(tmp_path):
    pytest.importorskip("soxr")
    write_wav(tmp_path / "low" / "a.wav", tone(400.0, 0.5))
    write_wav(tmp_path / "high" / "a.wav", tone(400.0, 0.5, 16000), rate=16000)
    schema = read_events(tmp_path / "low").schema
    assert audio_of(schema).sample_rate == 8000
    low, high = (read_events(tmp_path / name, schema).frame.collect() for name in ("low", "high"))
    assert low.columns == high.columns and abs(low.height - high.height) <= 1
    assert sound_log(tmp_path / "high").fields["mel_00"].group == "mel 16000 Hz"


def test_labels_name_files_with_or_without_their_ending(corpus):
    log = read_events(corpus[0])
    examples, _ = read_examples(corpus[1], log, target="letter")
    last = log.frame.group_by("file").agg(pl.col("timestamp").max()).collect()
    judged = dict(last.iter_rows())
    assert all(
        cutoff - judged[name] == timedelta(microseconds=1)
        for name, cutoff in examples.frame.select("file", "cutoff").iter_rows()
    )
    assert examples.frame["file"][:2].to_list() == ["u00", "u01"]


def test_sound_beside_tables_is_refused(tmp_path):
    write_wav(tmp_path / "a.wav", tone(400.0))
    assert is_sound(tmp_path) and is_sound(tmp_path / "a.wav")
    (tmp_path / "labels.csv").write_text("file\na\n", "utf-8")
    with pytest.raises(DataError, match=r"holds sound \(1 files\) and tables \(labels.csv\)"):
        read_events(tmp_path)


def test_a_group_is_read_on_a_straight_line_and_travels():
    spec = Number(log=False, group="mel 8000 Hz")
    from habitus.fields.number import Scaler
    from habitus.fields.schema import field_from_json, field_to_json

    scaler = Scaler.fit(spec, pl.Series([1.0, 2.0, 3.0, 4.0]))
    assert scaler.knots == [] and Scaler.from_json(scaler.to_json()) == scaler
    assert field_from_json(field_to_json(spec)) == spec


def test_classify_tells_letters_apart(corpus, tmp_path):
    model = SequenceModel(
        Classify("letter"),
        GRU(hidden_size=16, bidirectional=True, pooling="max"),
        training=Training(epochs=20, learning_rate=1e-2, batch_rows=8, average=0.9, tracker=None, threads=1),
        options=Options(wide=False, use_time=False, baselines=("most frequent",), augment=False),
    ).fit(*corpus)
    assert model.evaluation_.metrics["accuracy"].value > 0.8
    whole = model.predict(corpus[0])
    assert whole.height == 120 and whole.columns[0] == "file"
    alone = model.predict(corpus[0] / f"{whole['file'][3]}.wav")
    columns = [name for name in whole.columns if name.startswith("probability_")]
    np.testing.assert_allclose(alone.select(columns).to_numpy()[0], whole.select(columns).to_numpy()[3], atol=1e-5)
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").predict(corpus[0]).equals(whole)
