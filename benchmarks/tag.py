"""Tagging on public data: right and wrong answers of students, slots of English commands, entities of Chinese posts.

    python benchmarks/tag.py assistments      # every answer right or wrong, earlier answers known
    python benchmarks/tag.py snips            # slots, entity F1
    python benchmarks/tag.py weibo            # named entities by character, entity F1
    python benchmarks/tag.py                  # all three

Real data is read from $HABITUS_DATA (default ../shared/data); a set that is absent is skipped with a sentence. Prints a
Markdown table a set, with published figures beside ours. Everything is chosen on validation; test is judged once.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import torch

from habitus.backbones import GRU, LSTM, Transformer
from habitus.data.options import Data
from habitus.data.tags.split import TagSplit
from habitus.model import SequenceModel
from habitus.model.tag import TagOptions
from habitus.tasks import Tag
from habitus.training import ProgressBar, Training

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
_START = datetime(2009, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """One data set: what is read, what is predicted, the models, and what others report."""

    events: Any
    task: Tag
    models: dict[str, Any]
    training: Training
    published: tuple[str, ...]
    data: Data = field(default_factory=Data)
    split: TagSplit = field(default_factory=TagSplit)
    options: TagOptions = field(default_factory=TagOptions)


def assistments() -> Case | None:
    """Every answer of a student: the files' own division, an eighth of the training students choosing the epoch."""
    folder = DATA / "assistments-2009"
    if not folder.is_dir():
        return None
    answers = pl.concat([read_answers(folder / f"assist2009_updated_{part}.csv", part) for part in ("train", "test")])
    return Case(
        events=answers,
        task=Tag("correct", label_history=True),
        models={"GRU": GRU(), "LSTM": LSTM(), "Transformer": Transformer(time_aware=False)},
        training=Training(epochs=6, learning_rate=5e-3, batch_rows=32, tracker=None),
        data=Data(max_length=200),
        split=TagSplit("part", validation=0.125),
        options=TagOptions(use_time=False),  # the files say the order only
        published=(
            "the same files, the same test students, 56:14:30: DKT (LSTM) .8181 ± .0010, DKVMN .7956 ± .0029, NPA "
            ".8182 ± .0013, https://github.com/seewoo5/KT",
            "the task is that of Piech et al. 2015 (https://arxiv.org/abs/1506.05908), who report more on a cut of the "
            "data in which answers stand several times (Xiong et al. 2016, Going Deeper with Deep Knowledge Tracing)",
        ),
    )


def read_answers(path: Path, part: str) -> pl.DataFrame:
    """Return the answers in a file with three lines a student: how many, the skills, right or wrong."""
    lines = [line.strip().strip(",") for line in path.read_text().splitlines() if line.strip()]
    students = [
        pl.DataFrame({"skill_id": skills.split(","), "correct": right.split(",")})
        .with_columns(pl.lit(f"{part} {number}").alias("user_id"), pl.lit(part).alias("part"))
        .with_columns(pl.lit(_START).alias("timestamp") + pl.duration(minutes=pl.int_range(pl.len())))
        for number, (skills, right) in enumerate(zip(lines[1::3], lines[2::3], strict=True))
    ]
    return pl.concat(students)


def snips() -> Case | None:
    """Slots of commands to an assistant; the files say train, dev and test."""
    if not (DATA / "snips").is_dir():
        return None
    return Case(
        events=str(DATA / "snips"),
        task=Tag("tag", direction="both", scheme="bio", crf=True),
        models={
            "LSTM-CRF, both ways": LSTM(hidden_size=128, bidirectional=True, dropout=0.3),
            "Transformer-CRF": Transformer(hidden_size=128, causal=False, time_aware=False, dropout=0.2),
        },
        training=Training(epochs=6, learning_rate=5e-3, batch_rows=32, tracker=None),
        options=TagOptions(value_dropout=0.1),
        published=PUBLISHED["snips"],
    )


def weibo() -> Case | None:
    """Named and nominal entities of posts, by character; the files say train, dev and test."""
    if not (DATA / "weibo-ner").is_dir():
        return None
    return Case(
        events=str(DATA / "weibo-ner"),
        task=Tag("tag", direction="both", scheme="bio", crf=True),
        models={
            "LSTM-CRF, both ways": LSTM(hidden_size=128, bidirectional=True, dropout=0.4),
            "Transformer-CRF": Transformer(hidden_size=128, causal=False, time_aware=False, dropout=0.3),
        },
        training=Training(epochs=8, learning_rate=5e-3, batch_rows=32, tracker=None),
        options=TagOptions(value_dropout=0.2),
        published=PUBLISHED["weibo"],
    )


PUBLISHED = {
    "snips": (
        "slot F1 of networks without pretrained language models: slot-gated attention 88.8 (Goo et al. 2018, "
        "https://aclanthology.org/N18-2118), with a context encoder 93.6 (Pouran Ben Veyseh et al. 2019, "
        "https://arxiv.org/abs/1911.01680)",
    ),
    "weibo": (
        "F1 over named and nominal entities: Lattice LSTM-CRF 58.79 (Zhang and Yang 2018, "
        "https://arxiv.org/abs/1805.02023), which begins with embeddings of characters and words learned from far more "
        "text; ours know these 1,350 posts only",
    ),
}
CASES = {"assistments": assistments, "snips": snips, "weibo": weibo}


def main() -> None:
    """Run the cases that are asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all where none is named")
    parser.add_argument("--epochs", type=int, help="other than the case's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.cases or CASES:
        case = CASES[name]()
        if case is None:
            print(f"{name}: the data is not in {DATA}; set HABITUS_DATA.")
        else:
            run(name, case, given)


def run(name: str, case: Case, given: argparse.Namespace) -> None:
    """Fit every model of a case on the same rows, and print what came of it."""
    training = Training(**{**vars(case.training), **({"epochs": given.epochs} if given.epochs else {})})
    prepared, first, rows = None, None, []
    for label, backbone in case.models.items():
        model = SequenceModel(
            case.task, backbone, data=case.data, split=case.split, training=training, options=case.options,
            seed=given.seed,
        )  # fmt: skip
        prepared = prepared or model.prepare(case.events)
        began = time.monotonic()
        rivals = None if first is None else first.baselines_
        model.fit_prepared(prepared, rivals=rivals, callbacks=[] if given.quiet else [ProgressBar()])
        found = model.evaluation_.metrics[model.task.monitor]
        print(f"{label}: {model.task.monitor} {found}, {time.monotonic() - began:.0f} s in all", flush=True)
        best = model.history_[model.result_.best_epoch - 1]["validation_metric"]
        cost = f"{model.result_.seconds:.0f} s, {model.result_.best_epoch}/{len(model.history_)} epochs"
        rows.append((label, model.evaluation_.metrics, f"{best:.4f}", f"{cost}, {model.result_.parameters:,}"))
        first = first or model
    for rival, metrics in first.evaluation_.baselines.items():
        rows.append((rival, metrics, "", f"{first.rival_seconds_[rival]:.0f} s"))
    report(name, case, first, rows, prepared.facts["split"])


def report(name: str, case: Case, first: Any, rows: list[tuple[Any, ...]], split: str) -> None:
    """Print a Markdown table."""
    metrics = list(rows[0][1])
    print(f"\n### {name}\n\n{first.evaluation_.notes[-1]} 95 % intervals by a bootstrap over sequences.\n")
    print("| | " + " | ".join(metrics) + " | validation | cost |")
    print("|---" * (len(metrics) + 3) + "|")
    for label, found, best, cost in rows:
        print(f"| {label} | " + " | ".join(str(found[metric]) for metric in metrics) + f" | {best} | {cost} |")
    print(f"\nSplit: {split}.")
    for line in case.published:
        print(f"- Published: {line}.")
    print(flush=True)


if __name__ == "__main__":
    main()
