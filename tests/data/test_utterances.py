import numpy as np
import polars as pl
import pytest

from habitus.data.mel import Audio
from habitus.data.speech_encoder import SpeechEncoder
from habitus.data.speech_split import SpeechSplit
from habitus.data.utterances import SpeechData, Utterances, read_transcribed, stretched
from habitus.errors import ConfigError, DataError
from tests.tones import tone, write_corpus, write_wav


def rows(lengths=(3, 1, 4), texts=("ab", "b", "c a"), seed=0):
    frames = np.random.default_rng(seed).normal(size=(sum(lengths), 2)).astype(np.float32)
    return Utterances(frames, np.cumsum([0, *lengths]), tuple(f"u{i}" for i in range(len(lengths))), tuple(texts))


def test_rows_are_taken_in_any_order():
    whole = rows()
    some = whole.take(np.array([2, 0]))
    assert some.names == ("u2", "u0") and some.texts == ("c a", "ab") and some.lengths.tolist() == [4, 3]
    assert (some.of(0) == whole.of(2)).all() and (some.of(1) == whole.of(0)).all()
    assert len(whole.take(np.zeros(0, int))) == 0


def test_a_table_and_a_folder_are_joined_by_name(tmp_path):
    table = write_corpus(tmp_path, n=6)
    found = read_transcribed(tmp_path / "sound", table, SpeechData())
    assert found.rows.names == tuple(f"u{i:03d}" for i in range(6)) and not found.rejects
    assert found.table["speaker"].to_list()[:2] == ["speaker 0", "speaker 1"]
    assert found.rows.texts == tuple(pl.read_csv(table, separator="\t")["text"])


def test_what_does_not_meet_is_counted(tmp_path):
    for name in ("a", "b", "c"):
        write_wav(tmp_path / f"{name}.wav", tone(400.0))
    (tmp_path / "b.wav").write_bytes(b"")
    table = pl.DataFrame(
        {"file": ["a.wav", "a", "b.wav", "gone.wav", None, "c.wav"], "text": ["One", "two", "x", "x", "x", " "]}
    )
    found = read_transcribed(tmp_path, table, SpeechData())
    assert found.rows.texts == ("one",)
    assert dict(found.rejects.counts) == {
        "the file is empty (0 bytes)": 1,
        "'file' is missing": 1,
        "'text' is missing": 1,
        "'file' has a transcript already": 1,
        "'file' names no file": 1,
    }
    assert found.rejects.n_rows == 6


def test_absent_columns_and_empty_tables_are_refused(tmp_path):
    write_wav(tmp_path / "a.wav", tone(400.0))
    with pytest.raises(DataError, match="no column 'text'"):
        read_transcribed(tmp_path, pl.DataFrame({"file": ["a"]}), SpeechData())
    with pytest.raises(DataError, match="holds no usable transcript"):
        read_transcribed(tmp_path, pl.DataFrame({"file": ["a"], "text": [""]}), SpeechData())
    with pytest.raises(DataError, match="none of its files is named"):
        read_transcribed(tmp_path, pl.DataFrame({"file": ["b"], "text": ["x"]}), SpeechData())


def test_scales_and_characters_are_those_of_training():
    train, other = rows(), rows((2,), ("az",), seed=1)
    encoder = SpeechEncoder.fit(train, Audio(8000, n_mels=2))
    assert encoder.characters == " abc" and encoder.unknown(other.texts) == 1
    scaled = encoder.encode(train).frames
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(
        encoder.encode(other).frames, (other.frames - train.frames.mean(0)) / train.frames.std(0), rtol=1e-4
    )
    assert encoder.ids("az") == [2] and encoder.text(encoder.ids("ab c")) == "ab c"
    assert SpeechEncoder.from_json(encoder.to_json()) == encoder


def test_stretching_is_interpolation():
    frames = rows((5,), ("a",)).frames
    for length in (1, 3, 5, 9):
        found = stretched(frames, length)
        at = np.linspace(0, 4, length)
        expected = np.stack([np.interp(at, np.arange(5), frames[:, band]) for band in range(2)], axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert stretched(frames[:1], 3).shape == (3, 2)


TABLE = pl.DataFrame(
    {"speaker": [f"s{i % 5}" for i in range(50)], "part": ["train", "test", "validation", "train", "left-out"] * 10}
)


def test_files_are_drawn_at_random_and_whole_speakers_are_held_out():
    parts = SpeechSplit(seed=3).assign(TABLE)
    assert (parts == "test").sum() == 10 and (parts == "validation").sum() == 7
    by_speaker = SpeechSplit("speaker").assign(TABLE)
    assert all(len(set(by_speaker[i::5])) == 1 for i in range(5)) and set(by_speaker) == {"train", "validation", "test"}
    assert (SpeechSplit(seed=3).assign(TABLE) == parts).all()


def test_named_speakers_judge_and_files_may_choose():
    split = SpeechSplit("speaker", held_out=("s1",), validate_by="file")
    parts = split.assign(TABLE)
    assert (parts == "test").tolist() == [i % 5 == 1 for i in range(50)]
    assert (parts == "validation").sum() == 6 and len({i % 5 for i in np.flatnonzero(parts == "validation")}) > 1
    assert split.sentence() == "by speaker: s1 judges; of the others 15 % of the files choose the best epoch (seed 0)"


def test_a_column_of_parts_is_taken_as_it_is():
    assert SpeechSplit("part").assign(TABLE).tolist() == TABLE["part"].to_list()


def test_splits_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="no column 'speker' to split by; did you mean 'speaker'"):
        SpeechSplit("speker").assign(TABLE)
    with pytest.raises(DataError, match="no row has speaker = 's9'"):
        SpeechSplit("speaker", held_out=("s9",)).assign(TABLE)
    with pytest.raises(DataError, match="leaves nothing for validation"):
        SpeechSplit("speaker").assign(TABLE.filter(pl.col("speaker") == "s0"))
    with pytest.raises(ConfigError, match="has no column"):
        SpeechSplit(held_out=("s1",))
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        SpeechSplit(validation=0.5, test=0.5)
