"""`habitus fit answer` and `habitus compare answer`: the words of a passage that answer a question."""

from __future__ import annotations

from typing import Annotated

import typer

from habitus.cli import options as opt
from habitus.cli.task_run import COMMON, SHARES, run_compare, run_fit, with_whole_paths

ANSWER = "answer"
_FILES = ("validation_examples", "test_examples")
Examples = Annotated[
    str,
    typer.Option(help="Table of questions, passages and answers: CSV, Parquet, Arrow, JSON lines, or SQuAD's JSON."),
]

_TASK = opt.group(
    "Options",
    target=(str, "task.target", "Column of the answers; an empty one: the passage has none.", "answer"),
    max_answer_length=(int, "task.max_answer_length", "Most tokens of an answer.", "30"),
    threshold=(
        float,
        "task.threshold",
        "How much more than the best answer 'no answer' must score to be given.",
        "chosen on validation, where some questions have no answer",
    ),
)
_SPLITTING = opt.group(
    "Which questions train and which judge",
    validation_examples=(
        str,
        "split.validation_examples",
        "Table of the questions that choose the best epoch.",
        "a random share of the passages",
    ),
    test_examples=(
        str,
        "split.test_examples",
        "Table of the questions that judge.",
        "a random share of the passages",
    ),
    validation=(float, "split.validation", SHARES["validation"].help, "0.1"),
    test=(float, "split.test", SHARES["test"].help, "0.2"),
)
_READING = opt.group(
    "How the data is read",
    text=(str, "data.text", "Columns of the question and of its passage, a comma between.", "question,context"),
    start=(
        str,
        "data.start",
        "Column with the character at which the answer begins.",
        "answer_start, or the first place",
    ),
    tokenizer=(str, "data.tokenizer", "Of a network from scratch: words, characters or chinese.", "words"),
    max_length=(int, "data.max_length", "Most tokens of a window: question and passage.", "384"),
    max_question_length=(int, "data.max_question_length", "Most tokens of a question.", "64"),
    overlap=(int, "data.overlap", "Tokens that neighbouring windows of a long passage share.", "128"),
)
_SHARED = {**_TASK, **COMMON, **_SPLITTING, **_READING}
_FLAGS = {**opt.TEXT_BACKBONE, **_SHARED}


@opt.fits(_FLAGS)
def fit_answer(
    examples: Examples,
    run: opt.Run,
) -> None:
    """Train a model that marks the words of a passage that answer a question, or says that there are none.

    Judged by exact match and token F1 as SQuAD counts them, beside the commonest answer, the sentence that shares most
    with the question, and a sliding window. Writes the model, metrics.json and report.html into the folder.

    Example:

        habitus fit answer --text question,context --target answer --examples squad.csv --out runs/answer
    """
    run_fit(ANSWER, with_whole_paths(run, _FILES), {"examples": examples})


@opt.compares(_SHARED)
def compare_answer(
    examples: Examples,
    run: opt.Run,
) -> None:
    """Train several models from scratch on the same questions.

    Says which has the highest token F1, rivals included, or that it is a tie. Writes compare.json and report.html.

    Example:

        habitus compare answer --text question,context --target answer --examples squad.csv --out runs/compared
    """
    run_compare(ANSWER, with_whole_paths(run, _FILES), {"examples": examples})
