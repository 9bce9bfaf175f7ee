"""Translation beside its rivals: enja (both ways) and multi30k English to German, LSTM with attention and Transformer.

    OMP_NUM_THREADS=1 python benchmarks/generate.py --data ../shared/data --json generate.json

The usual files train, choose and judge. Small models on purpose. The 3 epochs of the default take some half an hour of
one core in all; `--epochs 12` for multi30k 40 minutes, `--epochs 8` for enja 30 minutes each way. Every row is one
model's BLEU on the whole test set (sacrebleu, its signature beside it) with its 95 % interval. PUBLISHED has what
others report; what differs from our runs is said there.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import habitus as hb
from habitus.backbones.encoder_decoder import EncoderDecoder
from habitus.data.pairs.split import PairSplit
from habitus.data.pairs.table import PairData
from habitus.model.generate_pairs import GenerateModel
from habitus.tasks.generate import Generate

PUBLISHED = {
    "enja en-ja": (
        "about 37 on the words that KyTea cut, not on characters: attention of Bahdanau et al., width 512, up to 30 "
        "epochs, greedy (https://github.com/refiute/primitiv_practice, README). Another tokenizer: not comparable"
    ),
    "multi30k en-de": (
        "small Transformers trained on these pairs alone: 30.59 after 12 epochs, 32.81 at best "
        "(https://github.com/psh150204/Transformer, README), 25.76 "
        "(https://github.com/Daniel-H-99/Practice_Transformer, README); their tokenizers are not stated"
    ),
}


@dataclass(frozen=True)
class Corpus:
    """One direction of a parallel corpus, as files of lines."""

    name: str
    source: str
    target: str
    folder: str
    parts: tuple[str, str, str]  # files of train, validation, test, without the language
    is_joined: bool = False  # Japanese that was cut into words is written without spaces again


CORPORA = (
    Corpus("enja en-ja", "en", "ja", "enja", ("train", "dev", "test"), is_joined=True),
    Corpus("enja ja-en", "ja", "en", "enja", ("train", "dev", "test"), is_joined=True),
    Corpus("multi30k en-de", "en", "de", "multi30k", ("train", "val", "test_2016_flickr")),
)
BACKBONES = {
    "lstm": EncoderDecoder("lstm", hidden_size=192, n_layers=1, dropout=0.2),
    "transformer": EncoderDecoder("transformer", hidden_size=128, n_layers=2, feedforward=4, dropout=0.1),
}


def main() -> None:
    given = arguments()
    found = []
    print(
        f"| corpus | model | parameters | n | BLEU | chrF | exact | s training | best epoch |\n{'|---' * 9}|",
        flush=True,
    )
    for corpus in CORPORA:
        if given.only and given.only != corpus.name.replace(" ", "-"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for one in measure(corpus, given, Path(folder)):
                found.append(one)
                if given.json:  # after every model: a run that is stopped leaves what it found
                    Path(given.json).write_text(json.dumps(found, indent=1))


def measure(corpus: Corpus, given: argparse.Namespace, folder: Path) -> Iterator[dict]:
    paths = [write_pairs(corpus, given, part, folder) for part in corpus.parts]
    rivals = None
    for name in given.backbones.split(","):
        model = GenerateModel(
            Generate(corpus.source, corpus.target),
            backbone=BACKBONES[name],
            data=PairData(vocabulary_size=given.vocabulary_size),
            split=PairSplit(validation_pairs=str(paths[1]), test_pairs=str(paths[2])),
            training=hb.Training(
                epochs=given.epochs, batch_tokens=4096, learning_rate=given.learning_rate, threads=1, tracker=None
            ),
        )
        prepared = model.prepare(str(paths[0]))
        began, cpu = time.monotonic(), time.process_time()
        model.fit_prepared(prepared, rivals=rivals)
        seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu
        first, rivals = rivals is None, model.baselines_
        found = row(corpus, model, prepared, seconds, cpu_seconds)
        show(found, with_rivals=first)
        yield found
        if first:
            print(*(f"<!-- {note} -->" for note in (*prepared.notes, *found["facts"].items())), sep="\n", flush=True)
        else:
            print(
                f"<!-- Published, {corpus.name}: {PUBLISHED.get(corpus.name, 'none on the same test set.')} -->",
                flush=True,
            )


def row(corpus: Corpus, model: GenerateModel, prepared, seconds: float, cpu_seconds: float) -> dict:
    evaluation = model.evaluation_
    return {
        "corpus": corpus.name,
        "model": model.name,
        "parameters": model.result_.parameters,
        "n": evaluation.n,
        "metrics": {name: one.to_json() for name, one in evaluation.metrics.items()},
        "rivals": {
            name: {key: one.to_json() for key, one in found.items()} for name, found in evaluation.baselines.items()
        },
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "best_epoch": model.result_.best_epoch,
        "history": model.history_,
        "facts": {**prepared.facts, **evaluation.protocol},
        "parts": prepared.counts(),
        "machine": f"{os.cpu_count()} cores shared, one thread",
    }


def show(found: dict, *, with_rivals: bool) -> None:
    lines = [
        (
            found["model"],
            f"{found['parameters']:,}",
            found["metrics"],
            f"{found['cpu_seconds']:.0f}",
            found["best_epoch"],
        )
    ]
    if with_rivals:
        lines = [(name, "", metrics, "", "") for name, metrics in found["rivals"].items()] + lines
    for name, parameters, metrics, seconds, epoch in lines:
        shown = [
            f"{metrics[key]['value']:.2f} [{metrics[key]['low']:.2f}, {metrics[key]['high']:.2f}]"
            for key in ("bleu", "chrf")
        ]
        cells = (
            found["corpus"],
            name,
            parameters,
            found["n"],
            *shown,
            f"{metrics['exact']['value']:.3f}",
            seconds,
            epoch,
        )
        print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def write_pairs(corpus: Corpus, given: argparse.Namespace, part: str, folder: Path) -> Path:
    sides = {side: lines(Path(given.data) / corpus.folder, part, side) for side in (corpus.source, corpus.target)}
    if corpus.is_joined:
        sides["ja"] = [line.replace(" ", "") for line in sides["ja"]]
    path = folder / f"{part}.parquet"
    table = pl.DataFrame(sides)
    (table.head(given.limit) if given.limit and part == "train" else table).write_parquet(path)
    return path


def lines(folder: Path, part: str, side: str) -> list[str]:
    plain, packed = folder / f"{part}.{side}", folder / f"{part}.{side}.gz"
    text = plain.read_text("utf-8") if plain.exists() else gzip.decompress(packed.read_bytes()).decode("utf-8")
    return text.splitlines()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder that holds enja/ and multi30k/")
    parser.add_argument("--only", help="one corpus: " + ", ".join(one.name.replace(" ", "-") for one in CORPORA))
    parser.add_argument("--backbones", default="lstm,transformer")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--vocabulary-size", type=int, default=3000)
    parser.add_argument("--limit", type=int, help="training pairs, for a first look")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
