"""Answers from passages against transformers: windows of its tokenizer, logits of its question-answering model."""

import polars as pl
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerFast

from habitus.backbones.pretrained import Pretrained
from habitus.data.answer.options import AnswerData
from habitus.data.answer.rows import MAY_ANSWER, SIDE, TEXT, AnswerEncoder
from habitus.data.answer.table import read_questions
from habitus.data.answer.windows import cut_windows
from habitus.data.batch import SequenceTensors
from habitus.data.pairs.ragged import Ragged
from habitus.fields.text import Text
from habitus.tasks.answer_network import AnswerNetwork, span_loss, window_logits
from tests.squad import WORDS, questions
from tests.tiny_bert import tiny_bert

DATA = AnswerData(max_length=24, max_question_length=8, overlap=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("tiny"), words=WORDS)


@pytest.fixture(scope="module")
def read(folder):
    """Return questions as rows, their encoder and their windows."""
    table = read_questions(questions(12), DATA, "answer")
    encoder = AnswerEncoder.learn(Text(folder, clean=False), pl.concat([table.questions, table.contexts.alias("q")]))
    rows = encoder.encode(table.questions, table.contexts, table.golds)
    return rows, encoder, cut_windows(rows, encoder, DATA)


@pytest.fixture(scope="module")
def theirs(folder, read):
    """Return the windows of transformers."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    rows = read[0]
    return tokenizer(
        rows.questions.to_list(),
        rows.contexts.to_list(),
        truncation="only_second",
        max_length=DATA.max_length,
        stride=DATA.overlap,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )


def lists(windows, name):
    return Ragged(windows.encoded.ids[name], windows.encoded.offsets).lists()


def test_windows_are_those_of_transformers(read, theirs):
    rows, _, windows = read
    assert len(windows) > len(rows)
    assert [[one - 3 for one in row] for row in lists(windows, TEXT)] == theirs["input_ids"]
    assert [[one - 3 for one in row] for row in lists(windows, SIDE)] == theirs["token_type_ids"]
    assert windows.encoded.example.tolist() == theirs["overflow_to_sample_mapping"]
    for number, may in enumerate(lists(windows, MAY_ANSWER)):
        assert may == [int(side == 1 or at == 0) for at, side in enumerate(theirs.sequence_ids(number))]


def test_characters_of_tokens_are_those_of_transformers(read, theirs):
    rows, _, windows = read
    for number, (row, first) in enumerate(zip(windows.encoded.example, windows.first, strict=True)):
        expected = [
            place
            for place, side in zip(theirs["offset_mapping"][number], theirs.sequence_ids(number), strict=True)
            if side == 1
        ]
        base = rows.context_ids.offsets[row] + first
        span = slice(base, base + len(expected))
        assert list(zip(rows.start.values[span], rows.stop.values[span], strict=True)) == expected


def test_logits_and_loss_are_those_of_the_question_answering_model(folder, read):
    _, encoder, windows = read
    torch.manual_seed(0)
    other = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    network = AnswerNetwork(encoder.sizes, Pretrained(folder)).eval()
    network.head.load_state_dict(other.qa_outputs.state_dict())
    ours = window_logits(network, SequenceTensors(windows.encoded))
    told = 0
    for row, (ids, types, may) in enumerate(
        zip(*(lists(windows, name) for name in (TEXT, SIDE, MAY_ANSWER)), strict=True)
    ):
        ids, types = (torch.tensor([[one - 3 for one in some]]) for some in (ids, types))
        first, last = windows.encoded.target[row]
        with torch.no_grad():
            found = other(ids, token_type_ids=types, start_positions=torch.tensor([first]),
                          end_positions=torch.tensor([last]))  # fmt: skip
        answerable = torch.tensor(may, dtype=torch.bool)
        for side, logits in enumerate((found.start_logits[0], found.end_logits[0])):
            assert (torch.from_numpy(ours[row][:, side])[answerable] - logits[answerable]).abs().max() < 1e-4
            assert (ours[row][~answerable.numpy(), side] == -torch.inf).all()
        if first >= 0:  # theirs scores all tokens: with ours left free the loss is the same
            both = torch.stack([found.start_logits, found.end_logits], dim=-1)
            assert span_loss(both, torch.tensor([[first, last]]))[0].item() == pytest.approx(
                found.loss.item(), abs=1e-5
            )
            told += 1
    assert told > 12


def test_the_types_of_tokens_tell(folder, read):
    _, encoder, windows = read
    network = AnswerNetwork(encoder.sizes, Pretrained(folder)).eval()
    batch = SequenceTensors(windows.encoded).gather(torch.arange(4))
    before = network(batch)
    batch.ids[SIDE] = torch.full_like(batch.ids[SIDE], 3)
    assert (network(batch) - before).nan_to_num(0.0).abs().max() > 0.01
