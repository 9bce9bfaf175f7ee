import struct
import sys

import numpy as np
import pytest

from habitus.data.audio import find_sounds, read_recordings
from habitus.data.mel import Audio
from habitus.data.wav import BadSound, Sound, read_sound, resampled
from habitus.errors import DataError, MissingExtraError
from tests.tones import RATE, tone, write_wav


@pytest.mark.parametrize(("width", "step"), [(1, 2**-7), (2, 2**-15), (3, 2**-23), (4, 2**-23)])
def test_pcm_of_every_width_is_read_within_its_step(tmp_path, width, step):
    samples = np.linspace(-1, 0.99, 50)
    write_wav(tmp_path / "a.wav", samples, width=width)
    found = read_sound(tmp_path / "a.wav")
    assert found.rate == RATE and found.samples.dtype == np.float32
    assert np.abs(found.samples - samples).max() <= step


def test_the_standard_library_and_soundfile_read_the_same(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    samples = np.stack([tone(400.0), tone(900.0)], axis=1)
    for width in (2, 3, 4):
        write_wav(tmp_path / "a.wav", samples, width=width)
        other, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
        found = read_sound(tmp_path / "a.wav")
        assert rate == found.rate and found.n_channels == 2
        np.testing.assert_allclose(found.samples, other.mean(1), atol=1e-6)


def test_flac_and_float_wav_are_read_by_the_extra(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    samples = tone(400.0).astype(np.float32)
    for name, kind in (("a.flac", "PCM_16"), ("b.wav", "FLOAT")):
        soundfile.write(tmp_path / name, samples, RATE, subtype=kind)
        np.testing.assert_allclose(read_sound(tmp_path / name).samples, samples, atol=2**-15)


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    (tmp_path / "a.flac").write_bytes(b"fLaC....")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtraError, match=r"is FLAC.*habitus\[audio\]"):
        read_sound(tmp_path / "a.flac")


def bad_files(folder):
    write_wav(folder / "good.wav", tone(400.0))
    whole = (folder / "good.wav").read_bytes()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_bytes(b"this is no sound at all, it is a letter")
    (folder / "cut.wav").write_bytes(whole[:-300])
    (folder / "header.wav").write_bytes(whole[:20])
    write_wav(folder / "none.wav", np.zeros(0))
    write_wav(folder / "short.wav", np.zeros(100))
    return {
        "empty": "is empty (0 bytes)",
        "text": "is not a wav file",
        "cut": "is cut off: 810 of 960 samples are there",
        "header": "ends within its header",
        "none": "holds no samples",
        "short": "is shorter than one window (25 ms)",
    }


def test_bad_files_are_counted_with_their_reason(tmp_path):
    reasons = bad_files(tmp_path)
    found = read_recordings(tmp_path)
    assert found.names == ("good",) and found.offsets.tolist() == [0, len(found.frames)]
    assert found.rejects.total == len(reasons) and found.rejects.n_rows == len(reasons) + 1
    said = {sample.file.rpartition("/")[2].removesuffix(".wav"): sample.reason for sample in found.rejects.samples}
    assert said == {name: f"cannot be used: it {reason}" for name, reason in reasons.items()}


def test_a_folder_of_nothing_but_bad_files_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"No recording .* empty"):
        read_recordings(tmp_path)


def test_what_is_no_folder_of_sound_is_refused(tmp_path):
    with pytest.raises(DataError, match="neither a file nor a folder"):
        find_sounds(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no sound file"):
        find_sounds(tmp_path)


def test_names_are_paths_without_ending_and_the_second_of_one_name_is_refused(tmp_path):
    for name in ("b/x.wav", "a.wav", "b/x.WAV"):
        write_wav(tmp_path / name, tone(400.0))
    found = read_recordings(tmp_path)
    assert found.names == ("a", "b/x")
    assert found.rejects.samples[0].reason == "cannot be used: it has the name of x.WAV, which is read"


def test_other_rates_are_resampled_to_the_commonest_and_said(tmp_path):
    pytest.importorskip("soxr")
    for number in range(2):
        write_wav(tmp_path / f"{number}.wav", tone(400.0, 0.5))
    write_wav(tmp_path / "fast.wav", tone(400.0, 0.5, 16000), rate=16000)
    found = read_recordings(tmp_path)
    assert found.audio.sample_rate == RATE
    assert found.notes == ("1 of 3 files at 16,000 Hz are resampled to 8,000 Hz.",)
    own, same, fast = (found.frames[a:b] for a, b in zip(found.offsets, found.offsets[1:], strict=False))
    assert (own == same).all() and np.abs(own[5:-5] - fast[5:-5])[:, own.mean(0) > -9].max() < 0.1


def test_resampling_keeps_a_tone(tmp_path):
    pytest.importorskip("soxr")
    sound = Sound(tone(400.0, 0.5, 16000).astype(np.float32), 16000)
    np.testing.assert_allclose(resampled(sound, RATE).samples[100:-100], tone(400.0, 0.5)[100:-100], atol=0.01)
    assert resampled(sound, 16000) is sound


def test_a_wav_header_with_an_odd_chunk_is_read(tmp_path):
    """Editors put LIST chunks before the data."""
    write_wav(tmp_path / "a.wav", tone(400.0))
    raw = (tmp_path / "a.wav").read_bytes()
    chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    (tmp_path / "b.wav").write_bytes(
        raw[:4] + struct.pack("<I", len(raw) + len(chunk) - 8) + raw[8:36] + chunk + raw[36:]
    )
    assert (read_sound(tmp_path / "b.wav").samples == read_sound(tmp_path / "a.wav").samples).all()


def test_a_folder_that_is_named_as_a_file_is_a_reason(tmp_path):
    with pytest.raises(BadSound, match="cannot be opened"):
        read_sound(tmp_path / "absent.wav")


def test_only_what_a_table_names_is_read(tmp_path):
    for number in range(3):
        write_wav(tmp_path / f"{number}.wav", tone(400.0))
    assert read_recordings(tmp_path, Audio(), only=["1"]).names == ("1",)
