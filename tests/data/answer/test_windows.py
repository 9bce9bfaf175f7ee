"""Windows: all of a passage is read, an answer is where its target says, and tokens know their characters."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.answer.options import AnswerData
from habitus.data.answer.rows import LOST, MAY_ANSWER, SIDE, TEXT, AnswerEncoder
from habitus.data.answer.windows import cut_windows
from habitus.data.pairs.ragged import Ragged
from habitus.fields.text import Text

SPEC = Text(min_count=1, clean=False)


def encoded(questions, contexts, golds, spec=SPEC):
    questions, contexts = pl.Series(questions), pl.Series(contexts)
    encoder = AnswerEncoder.learn(spec, pl.concat([questions, contexts]))
    return encoder, encoder.encode(questions, contexts, golds)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 39), st.integers(1, 8), st.integers(0, 4), st.integers(6, 12))
def test_every_token_is_read_and_a_whole_answer_has_its_place(n, at, size, overlap, room):
    words = [f"w{number}" for number in range(n)]
    first = min(at, n - 1)
    last = min(first + size, n) - 1
    passage = " ".join(words)
    gold = (" ".join(words[first : last + 1]), len(" ".join([*words[:first], ""])) if first else 0)
    encoder, rows = encoded(["q r"], [passage], [(gold,)])
    data = AnswerData(max_length=room + 4, max_question_length=2, overlap=overlap)
    windows = cut_windows(rows, encoder, data)
    read = [range(a, a + size) for a, size in zip(windows.first.tolist(), windows.n_tokens.tolist(), strict=True)]
    assert set().union(*read) == set(range(n))
    assert all(one.stop - two.start == overlap for one, two in itertools.pairwise(read))
    ids = Ragged(windows.encoded.ids[TEXT], windows.encoded.offsets)
    assert ids.lengths.max() <= data.max_length
    for span, row, target, shift in zip(read, ids.lists(), windows.encoded.target, windows.shift, strict=True):
        assert row[shift : shift + len(span)] == rows.context_ids.values[span.start : span.stop].tolist()
        whole, touched = first in span and last in span, set(span) & set(range(first, last + 1))
        if whole:
            assert row[target[0] : target[1] + 1] == rows.context_ids.values[first : last + 1].tolist()
        else:
            assert target.tolist() == ([-1, -1] if touched else [0, 0])


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="aB é李\n\t.'0", max_size=30), st.sampled_from(["words", "characters", "chinese"]))
def test_tokens_know_their_characters(text, tokenizer):
    encoder, rows = encoded(["a", "b"], [text + "x", "y"], [(), ()], Text(tokenizer, min_count=1, clean=False))
    passage, bounds = text + "x", rows.start.offsets
    pieces = [passage[a:b] for a, b in zip(rows.start.lists()[0], rows.stop.lists()[0], strict=True)]
    assert "".join(pieces) == "".join(passage.split()) and bounds[0] == 0
    known = encoder.vocabulary.values
    assert [known[one - 3] for one in rows.context_ids.lists()[0]] == [piece.lower() for piece in pieces]


def test_words_of_the_question_are_marked_and_special_places_cannot_be_answered():
    encoder, rows = encoded(["Who won?"], ["Ann WON it?"], [()])
    windows = cut_windows(rows, encoder, AnswerData())
    assert windows.encoded.ids[SIDE].tolist() == [3, 3, 3, 3, 3, 4, 5, 4, 5]
    assert windows.encoded.ids[MAY_ANSWER].tolist() == [1, 0, 0, 0, 0, 1, 1, 1, 1]
    assert windows.encoded.target.tolist() == [[0, 0]]


def test_an_answer_without_a_token_is_not_learned_from():
    encoder, rows = encoded(["q"], ["a   b"], [((" ", 2),)])
    assert rows.gold.tolist() == [[LOST, LOST]]
    assert cut_windows(rows, encoder, AnswerData()).encoded.target.tolist() == [[-1, -1]]


def test_rows_are_taken_in_order():
    encoder, rows = encoded(["one q", "two"], ["a b", "c"], [(("b", 2),), (("c", 0),)])
    swapped = rows.take(np.array([1, 0]))
    assert swapped.questions.to_list() == ["two", "one q"] and swapped.gold.tolist() == [[0, 0], [1, 1]]
    assert swapped.start.lists() == [[0], [0, 2]] and swapped.golds[0] == (("c", 0),)
    again = AnswerEncoder.from_json(encoder.to_json()).encode(swapped.questions, swapped.contexts, swapped.golds)
    assert all(np.array_equal(a, b) for a, b in zip(again.arrays(), swapped.arrays(), strict=True))


def test_byte_pairs_with_marks_between_texts():
    pytest.importorskip("tokenizers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    from habitus.data.text.pretrained_tokens import PretrainedTokens

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["who won", "Ann won it é"], trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    known = PretrainedTokens(__import__("json").loads(tokenizer.to_str()))
    assert known.around_pairs == (([3], [4, 4], [4]), (0, 0))
    ids, start, stop = known.located(["Ann won é"])
    assert "".join(dict.fromkeys("Ann won é"[a:b] for a, b in zip(start, stop, strict=True))) == "Annwoné"
    assert len(ids.values) == len(start)
