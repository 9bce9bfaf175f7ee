"""`habitus fit generate` and `habitus compare generate`: a sequence in, a sequence out."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from habitus.cli import options as opt
from habitus.cli.task_run import COMMON, SHARES, run_compare, run_fit, with_whole_paths

GENERATE = "generate"
_FILES = ("validation_pairs", "test_pairs")
Pairs = Annotated[str, typer.Option(help="Table of pairs: TSV, CSV, Parquet or Arrow; text, or lists of tokens.")]

_TASK = opt.group(
    "Options",
    source=(str, "task.source", "Column that is read.", "source"),
    target=(str, "task.target", "Column that is to be written.", "target"),
    attention=(Literal["dot", "additive"], "backbone.attention", "Of the recurrent backbones.", "dot"),
    beam_size=(int, "options.beam_size", "Beginnings that beam search keeps; 1 is greedy.", "4"),
    bleu_tokenizer=(str, "task.bleu_tokenizer", "Of sacrebleu: 13a, intl, char, zh or none.", "13a; char for ja, zh"),
)
_SPLITTING = opt.group(
    "Which pairs train and which judge",
    validation_pairs=(
        str,
        "split.validation_pairs",
        "Table of the pairs that choose the best epoch.",
        "a random share",
    ),
    test_pairs=(str, "split.test_pairs", "Table of the pairs that judge.", "a random share"),
    **{name: (flag.kind, flag.key, flag.help, flag.default) for name, flag in SHARES.items()},
)
_READING = opt.group(
    "How the data is read",
    tokens=(
        Literal["bpe", "unigram", "words", "characters"],
        "data.tokens",
        "How text is cut; lists are taken as they are.",
        "bpe",
    ),
    vocabulary_size=(int, "data.vocabulary_size", "Most tokens of a vocabulary.", "4000"),
    max_length=(int, "data.max_length", "Most source tokens that are read.", "128"),
    max_target_length=(int, "data.max_target_length", "Most target tokens, the end mark included.", "128"),
)
_SHARED = {**_TASK, **COMMON, **_SPLITTING, **_READING}
_FLAGS = {**opt.BACKBONE, **_SHARED}
_COMPARED = {name: flag for name, flag in _SHARED.items() if name != "attention"}


@opt.fits(_FLAGS)
def fit_generate(
    pairs: Pairs,
    run: opt.Run,
) -> None:
    """Train a model that writes a sequence for a sequence, and judge it.

    A sentence and its translation, or behaviour and the behaviour that comes. Judged by BLEU and chrF beside a copy of
    the source and a translation memory. Writes the model, metrics.json and report.html into the folder.

    Example:

        habitus fit generate --pairs train.tsv --source en --target ja --out runs/en-ja
    """
    run_fit(GENERATE, with_whole_paths(run, _FILES), {"pairs": pairs})


@opt.compares(_COMPARED, "lstm,transformer")
def compare_generate(
    pairs: Pairs,
    run: opt.Run,
) -> None:
    """Train several encoder-decoders on the same pairs.

    Says which has the highest BLEU, rivals included, or that it is a tie. Writes compare.json and report.html.

    Example:

        habitus compare generate --pairs train.tsv --source en --target ja --out runs/compared
    """
    run_compare(GENERATE, with_whole_paths(run, _FILES), {"pairs": pairs})
