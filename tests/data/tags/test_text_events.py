"""Files of tagged text become a log: the layouts that are met, and what is said of bad lines."""

import os
from pathlib import Path

import polars as pl
import pytest

from habitus.data.tags.text_events import find_text, looks_like_bio, read_text, with_derived_fields
from habitus.errors import DataError

REAL = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
CONLL = "John\tB-per\nlives\tO\nin\tO\nNew\tB-loc\nYork\tI-loc\n\nHe\tO\nlikes\tO\nit\tO\n"


def write(folder, name, text):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_a_token_and_its_tag_a_line(tmp_path):
    path = write(tmp_path, "a.conll", CONLL)
    frame = read_text(find_text(str(path))).frame
    assert frame["token"].to_list()[:2] == ["John", "lives"] and frame["tag"].to_list()[3:5] == ["B-loc", "I-loc"]
    assert frame["sentence_id"].to_list() == ["a.conll:1"] * 5 + ["a.conll:2"] * 3
    assert frame["timestamp"].is_sorted() and frame["timestamp"].n_unique() == 8
    assert looks_like_bio(path)


def test_spaces_windows_lines_further_columns_and_docstart(tmp_path):
    path = write(tmp_path, "a.bio", "-DOCSTART- -X- O\r\n\r\nEU NNP B-org\r\nrejects VBZ O\r\n")
    frame = read_text([path]).frame
    assert frame.select("token", "column_2", "tag").rows() == [("EU", "NNP", "B-org"), ("rejects", "VBZ", "O")]


def test_a_last_line_of_one_word_is_the_label_of_the_sentence(tmp_path):
    path = write(tmp_path, "a.txt", "play O\njazz B-genre\nPlayMusic\n\nplay O\nrock B-genre\nPlayMusic")
    found = read_text([path])
    assert found.frame["token"].to_list() == ["play", "jazz", "play", "rock"]
    assert set(found.frame["sentence_label"]) == {"PlayMusic"}
    assert any("2 sentences end with a line of one word" in note for note in found.notes)


def test_characters_with_their_place_in_the_word(tmp_path):
    path = write(tmp_path, "a.train", "科0\tO\n技1\tO\n全0\tB-loc\n")
    frame = read_text([path]).frame
    assert frame["token"].to_list() == ["科", "技", "全"] and frame["place_in_word"].to_list() == ["0", "1", "0"]
    assert frame["pair_before"].to_list() == ["^科", "科技", "技全"]
    assert frame["pair_after"].to_list() == ["科技", "技全", "全$"]
    assert "pair_after" not in read_text([path], look_ahead=False).frame.columns
    assert "split" in frame.columns  # the name of the file says so


def test_pairs_do_not_cross_sentences():
    frame = pl.DataFrame({"sentence_id": ["a", "b"], "token": ["x", "y"]})
    assert with_derived_fields(frame)["pair_before"].to_list() == ["^x", "^y"]


def test_untagged_text_can_be_read(tmp_path):
    frame = read_text([write(tmp_path, "a.conll", "He\nlikes\nit\n\nTrue\n")]).frame
    assert "tag" not in frame.columns and frame["token"].to_list() == ["He", "likes", "it", "True"]


def test_the_names_of_files_say_the_parts(tmp_path):
    for part in ("train", "dev", "test"):
        write(tmp_path, f"x_{part}.conll", CONLL)
    found = read_text(find_text(tmp_path))
    assert set(found.frame["split"]) == {"train", "validation", "test"}
    write(tmp_path, "other.conll", CONLL)
    assert "split" not in read_text(find_text(tmp_path)).frame.columns


@pytest.mark.parametrize(
    ("text", "said"),
    [("He\tO\nlikes\nit\tO\n", "row 2: 'tag' = 'likes' has a token and no tag"), ("\n\n", "hold no token")],
)
def test_what_cannot_be_read_is_said_with_its_line(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_text([write(tmp_path, "a.conll", text)])


def test_other_files_are_no_text(tmp_path):
    assert find_text(write(tmp_path, "a.parquet", "x")) == [] and find_text(pl.DataFrame()) == []
    assert not looks_like_bio(write(tmp_path, "b.conll", "a NOUN\nb VERB\n"))


@pytest.mark.parametrize(
    ("name", "n_tokens", "n_sentences"), [("snips", 130_438, 14_484), ("weibo-ner", 103_129, 1_890)]
)
def test_public_files_are_read_whole(name, n_tokens, n_sentences):
    if not (REAL / name).is_dir():
        pytest.skip(f"{name} is not here")
    frame = read_text(find_text(REAL / name)).frame
    assert frame.height == n_tokens and frame["sentence_id"].n_unique() == n_sentences
    assert set(frame["split"]) == {"train", "validation", "test"} and frame["token"].str.len_chars().min() >= 1
