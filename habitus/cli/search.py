"""`habitus search` and `habitus duplicates`: close texts, near copies, and answers of known questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from habitus.cli import options as opt
from habitus.cli.embed import Size
from habitus.cli.output import notes, one_line, print_json, say, table, wrote
from habitus.cli.scoring import load_model, refuse_format, said, write_scores
from habitus.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from habitus.model.text_search import TextIndex

_SHOWN = 100  # letters of a cell
Corpus = Annotated[str | None, typer.Option(help="Table of the texts that are searched.")]
Column = Annotated[
    str | None, typer.Option(help="Column of the texts.  [default: the first one of the fit]", metavar="NAME")
]


def search(
    folder: opt.RunFolder,
    corpus: Corpus = None,
    query: Annotated[list[str] | None, typer.Option(help="What is searched; may be repeated.")] = None,
    queries: Annotated[str | None, typer.Option(help="Table of queries, in a column of the name of --text.")] = None,
    text: Column = None,
    k: Annotated[int, typer.Option(help="Texts to find for each query.", min=1)] = 5,
    answer: Annotated[
        str | None, typer.Option(help="Column of the corpus with answers: give that of the closest question.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Cosine under which the answer is not known.")] = None,
    judged: Annotated[
        str | None, typer.Option(help="Table of questions and their answers that chooses the threshold.")
    ] = None,
    precision: Annotated[
        float, typer.Option(help="Share of the answers given that shall be right, for --judged.")
    ] = 0.9,
    approximate: Annotated[bool, typer.Option("--approximate", help="Search by a graph; needs habitus[ann].")] = False,
    size: Size = None,
    index: Annotated[Path | None, typer.Option(help="Saved index, in place of --corpus.")] = None,
    save_index: Annotated[Path | None, typer.Option(help="Folder in which the index is saved.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write instead of printing: .parquet, .csv, .arrow.")] = None,
    as_json: opt.Json = False,
) -> None:
    """Find the texts of a corpus that are closest to a query, or answer it as the closest known question was.

    With --answer a query gets the answer that stands beside the closest question of the corpus; below the threshold the
    answer is not known. --judged chooses the threshold on questions whose answers are known.

    Example:

        habitus search runs/alike --corpus faq.csv --text question --query "Where is my card?" --k 5
    """
    if out is not None:
        refuse_format(out)
    if answer is None and (threshold is not None or judged is not None):
        raise ConfigError("--threshold and --judged are for answers; name their column with --answer.")
    model = load_model(folder)
    found = _index(model, corpus, index, text, size)
    chosen = _choose(found, judged, answer, precision) if judged is not None else {}
    found.threshold = threshold if threshold is not None else found.threshold
    if save_index is not None:
        found.save(save_index)
    asked = [*(query or ()), *_asked(queries, found.column)]
    if asked:
        if approximate:
            found.approximate()
        hits = found.search(asked, k) if answer is None else found.answer(asked, answer)
        _show(hits, chosen, out, as_json=as_json, is_answer=answer is not None)
    elif save_index is None:
        raise ConfigError('Nothing is asked; give --query "..." or --queries TABLE, or --save-index FOLDER.')
    wrote([*([out] if out and asked else []), *([save_index] if save_index else [])]) if out or save_index else None


def duplicates(
    folder: opt.RunFolder,
    corpus: Annotated[str, typer.Option(help="Table of the texts.")],
    out: opt.Scores,
    text: Column = None,
    threshold: Annotated[float, typer.Option(help="Least cosine of a pair.")] = 0.9,
    size: Size = None,
) -> None:
    """Find texts that say the same: all pairs above a threshold, each once, the most alike first.

    Example:

        habitus duplicates runs/alike --corpus tickets.csv --text subject --threshold 0.9 --out pairs.parquet
    """
    refuse_format(out)
    found = _index(load_model(folder), corpus, None, text, size)
    pairs = found.duplicates(threshold)
    say(f"{pairs.height:,} pairs of {len(found):,} texts are at least {threshold} alike.")
    wrote([write_scores(pairs, out)])


def _index(model: Any, corpus: str | None, index: Path | None, text: str | None, size: int | None) -> TextIndex:
    if model.task.name != "embed":
        raise ConfigError(f"This is a model of the task '{model.task.name}'; search takes one of habitus fit embed.")
    if (corpus is None) == (index is None):
        raise ConfigError("Give either the table of texts that are searched (--corpus) or a saved index (--index).")
    from habitus.model.text_search import TextIndex, read_corpus

    if index is not None:
        return TextIndex.load(index, model)
    if model.data.text is None:
        raise ConfigError("This model embeds histories of events; search takes one of texts (fit embed --text).")
    column = text or model.data.texts[0]
    read = read_corpus(corpus, column)
    notes([*read.notes, *said(read.rejects)])
    return TextIndex.build(model, read, column, size=size)


def _choose(found: TextIndex, judged: str, answer: str | None, precision: float) -> dict[str, float]:
    from habitus.model.text_search import read_corpus

    assert answer is not None, "refused above"
    table_ = read_corpus(judged, found.column)
    if answer not in table_.frame.columns:
        raise ConfigError(f"{table_.label} has no column '{answer}' with the right answers.")
    return found.choose_threshold(table_.texts.to_list(), table_.frame[answer].to_list(), answer, precision=precision)


def _asked(queries: str | None, column: str) -> list[str]:
    if queries is None:
        return []
    from habitus.model.text_search import read_corpus

    read = read_corpus(queries, column)
    notes([*read.notes, *said(read.rejects)])
    return read.texts.to_list()


def _show(hits: pl.DataFrame, chosen: dict[str, float], out: Path | None, *, as_json: bool, is_answer: bool) -> None:
    if out is not None:
        write_scores(hits, out)
    if as_json:
        print_json({**({"judged": chosen} if chosen else {}), "hits": hits.to_dicts()})
        return
    if chosen:
        say(
            f"Threshold {chosen['threshold']:.3f}: on {chosen['n']:,} questions {chosen['answered']:.1%} are answered, "
            f"{chosen['precision']:.1%} of them rightly."
        )
    if out is not None:
        say(f"{hits.height:,} rows in {out}: columns {', '.join(hits.columns)}.")
        return
    if is_answer:
        hits = hits.with_columns(hits["answer"].cast(str).fill_null("(not known)"))
    rows = [[_cell(value) for value in row] for row in hits.iter_rows()]
    table("", hits.columns, rows, text=range(len(hits.columns)))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = one_line("" if value is None else str(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
