"""`habitus check --text`: what a table of texts is, and what is wrong with it, before anything is trained.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from habitus.cli.check_tables import lengths_text, n_of, show_fields, show_findings, show_rejects, standing, target_text
from habitus.cli.output import note, notes, say, table
from habitus.cli.settings import Settings, build_data, build_split
from habitus.errors import ConfigError, DataError

if TYPE_CHECKING:
    from habitus.data.rejects import Rejects


def check_texts(
    settings: Settings, examples: str, target: str | Sequence[str] | None
) -> tuple[dict[str, Any], Rejects]:
    """Return what a table of texts is, as plain data with a verdict, and its rejected rows.

    Args:
        settings: of the command.
        examples: the table.
        target: what is to be predicted, if it is known already.
    """
    from habitus.audit import CheckedTexts, describe_texts, find_text_leaks
    from habitus.data.text.table import read_texts

    data = build_data(settings)
    found = read_texts(examples, data, target=target)
    schema, trouble, part = found.examples.schema, [], None
    split = build_split(settings)
    if split.by in ("time", "new-entities") and schema.cutoff not in found.keys.columns:
        raise ConfigError(
            f"--split {split.by} divides texts by when they were written, and '{found.source}' has no column "
            f"'{data.cutoff}'; name one with --cutoff, or split by entity."
        )
    try:
        part = split.assign(found.examples.frame, schema.entity, schema.cutoff)
    except DataError as error:
        trouble = [str(error)]
    checked = CheckedTexts.of(found, data, part)
    facts = describe_texts(checked, data)
    facts |= {"leaks": [leak.to_json() for leak in find_text_leaks(checked)], "troubles": trouble}
    facts["verdict"] = verdict(facts)
    return facts, found.examples.rejects


def verdict(facts: Mapping[str, Any]) -> str:
    """Sum a check of texts up in one sentence.

    >>> verdict({"n": 1, "rejects": {"n": 2}, "leaks": [], "troubles": []})
    'Ready: 1 text, 2 rows rejected.'
    """
    counts, n_rejected = [n_of(facts["n"], "text")], facts["rejects"]["n"]
    if n_rejected:
        counts.append(f"{n_of(n_rejected, 'row')} rejected")
    return f"{standing(facts)}: {', '.join(counts)}."


def show_texts(facts: Mapping[str, Any]) -> None:
    """Print what a table of texts is."""
    table("", ["", facts["source"]], _summary(facts), text=(0, 1))
    show_fields(facts["profile"])
    show_rejects("table", facts["rejects"])
    show_findings(facts)
    notes(facts["notes"])
    say(facts["verdict"], style="bold")
    if not facts["target"]:
        note("next: the same command with --target NAME, the column to predict")


def _summary(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    tokens, again = facts["tokens"], facts["duplicates"]
    quantiles = ", ".join(f"{share} {n:,}" for share, n in tokens["lengths"]["quantiles"].items())
    rows = [("texts", f"{facts['n']:,}, {_whose(facts)}")]
    rows += [(f"'{one['name']}'", _column(one, facts["n"])) for one in facts["texts"]]
    rows += [
        ("tokens", f"{tokens['tokenizer']}, {tokens['known']:,} known{_unknown(tokens)}"),
        ("tokens each", f"{lengths_text(tokens['lengths'])}; at most {quantiles} of the texts"),
        ("longer than", f"max_length={tokens['max_length']:,}: {_cut(tokens, facts['n'])}"),
        ("scripts", ", ".join(f"{name} {share:.1%}" for name, share in facts["scripts"].items()) or "no letters"),
        ("duplicates", f"{again['n']:,} texts repeat another one, but for case, spaces and punctuation"),
    ]
    if facts["target"]:
        rows.append(("contradictions", f"{again['contradicting']:,} rows have another answer than an equal text"))
        rows.append(("target", target_text(facts["target"], facts["n"])))
    if facts["split"]:
        rows.append(("split", ", ".join(f"{name} {n:,}" for name, n in facts["split"].items() if n)))
    return rows


def _whose(facts: Mapping[str, Any]) -> str:
    if facts["entity"] is None:
        return "each its own entity, equal ones the same"
    return f"of {facts['entities']:,} entities ('{facts['entity']}')"


def _column(column: Mapping[str, Any], n: int) -> str:
    kinds = {"empty": "empty", "html": "with HTML tags or entities", "garbled": "decoded wrongly, it seems"}
    counts = [f"{column[kind]:,} {words}" for kind, words in kinds.items() if column[kind]]
    return f"{lengths_text(column['characters'])} characters; {', '.join(counts) or 'none empty'}"


def _unknown(tokens: Mapping[str, Any]) -> str:
    return "" if tokens["unknown"] is None else f"; {tokens['unknown']:.1%} of those that judge are not"


def _cut(tokens: Mapping[str, Any], n: int) -> str:
    if not tokens["n_cut"]:
        return "none"
    share, lost = tokens["n_cut"] / max(1, n), tokens["share_left_out"]
    return f"{tokens['n_cut']:,} texts ({share:.1%}), which leaves out {lost:.1%} of all tokens"
