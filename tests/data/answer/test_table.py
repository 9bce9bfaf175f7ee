"""Tables of questions: every form of an answer, SQuAD's JSON, and what is refused."""

import json

import polars as pl
import pytest

from habitus.data.answer.options import AnswerData
from habitus.data.answer.table import read_questions
from habitus.errors import ConfigError, DataError

PASSAGE = "Ann met Bo in Rome. Bo left."


def read(table, target="answer", **options):
    return read_questions(table, AnswerData(**options), target)


def table(answers, **more):
    n = len(answers)
    return pl.DataFrame({"question": ["Who?"] * n, "context": [PASSAGE] * n, "answer": answers, **more})


def test_answers_are_found_at_their_place():
    found = read(table(["Ann", "Rome", " Bo ", "", None]))
    assert found.golds == ((("Ann", 0),), (("Rome", 14),), (("Bo", 8),), (), ())
    assert found.notes[0] == "2 of 5 questions have no answer in their passage."
    assert found.notes[1].startswith("1 answers stand more than once")


def test_a_column_of_places_tells_which_one_is_meant():
    found = read(table(["Bo", "Bo", "Ann"], answer_start=[20, 8, None]))
    assert found.golds == ((("Bo", 20),), (("Bo", 8),), (("Ann", 0),)) and not found.notes
    named = read(table(["Bo"], at=["20"]), start="at")
    assert named.golds == ((("Bo", 20),),)


def test_rejects_name_file_row_and_field(tmp_path):
    path = tmp_path / "asked.csv"
    table(["Ann", "Cy", "Bo", "Bo"], answer_start=["", "", "9", "x"]).write_csv(path)
    found = read(str(path))
    assert found.keys["row"].to_list() == [1]
    said = [sample.sentence() for sample in found.rejects.samples]
    assert said == [
        f"{path}, row 2: 'answer' = 'Cy' is not in the passage as it is written",
        f"{path}, row 3: 'answer' = 'Bo' does not stand in the passage where the table says",
        f"{path}, row 4: 'answer_start' = 'x' is not a place in the passage: a whole number from 0",
    ]


def test_questions_and_passages_must_be_there():
    asked = pl.DataFrame({"question": ["Who?", None, " ", "Who?"], "context": ["Ann.", "x", "x", ""], "answer": "Ann"})
    found = read(asked)
    assert found.keys["row"].to_list() == [1]
    assert found.rejects.counts == {"'question' is missing": 1, "'question' is empty": 1, "'context' is empty": 1}


def test_several_true_answers():
    lists = read(table([["Bo", "Bo left"], []], answer_start=[[20, 20], []]))
    structs = read(table([{"text": ["Bo", "Bo left"], "answer_start": [20, 20]}, {"text": [], "answer_start": []}]))
    assert lists.golds == structs.golds == ((("Bo", 20), ("Bo left", 20)), ())


def test_numbers_are_read_as_they_are_written():
    asked = pl.DataFrame({"question": ["When?"], "context": ["It was 1990."], "answer": [1990]})
    assert read(asked).golds == ((("1990", 7),),)


def test_squad_and_json_lines(tmp_path):
    asked = [
        {"id": "q1", "question": "Who?", "answers": [{"text": "Bo", "answer_start": 20}], "is_impossible": False},
        {"id": "q2", "question": "Why?", "answers": [], "plausible_answers": [{"text": "Bo", "answer_start": 8}],
         "is_impossible": True},
    ]  # fmt: skip
    squad = tmp_path / "dev.json"
    squad.write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": [
        {"context": PASSAGE, "qas": asked}]}]}))  # fmt: skip
    found = read(str(squad))
    assert found.golds == ((("Bo", 20),), ()) and found.keys["id"].to_list() == ["q1", "q2"]
    lines = tmp_path / "dev.jsonl"
    lines.write_text(
        "".join(json.dumps({"question": "Who?", "context": PASSAGE, "answer": a}) + "\n" for a in ("Ann", "x"))
    )
    found = read(str(lines))
    assert found.golds == ((("Ann", 0),),)
    assert found.rejects.samples[0].sentence().startswith(f"{lines}, row 2: 'answer'")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: read(table(["Ann"]), target="answers"), "did you mean 'answer'"),
        (lambda: read(table(["Ann"]), target="context"), "cannot be the answer too"),
        (lambda: read(table(["Ann"]), start="begin"), "begin"),
        (lambda: read(table(["Cy"])), "no question that can be used. 1 of 1 rows were rejected"),
        (lambda: read(table(["Ann"]).with_columns(question=pl.lit(3))), "holds Int32, where texts"),
        (lambda: read("nowhere.json"), "no file 'nowhere.json'"),
        (lambda: AnswerData(text="question"), "with a comma between"),
        (lambda: AnswerData(max_length=100, overlap=64), "leaves 33 for the passage, which must be more than overlap"),
    ],
)
def test_mistakes_get_a_sentence(make, said):
    with pytest.raises((DataError, ConfigError), match=said):
        make()


def test_json_of_another_kind_says_so(tmp_path):
    for text, said in (('{"rows": []}', "not built as SQuAD is"), ("{", "no JSON that can be read")):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(DataError, match=said):
            read(str(tmp_path / "a.json"))
