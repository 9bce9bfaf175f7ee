"""Few labels: what does pretraining on unlabelled histories gain, and is it ahead of counting?

    python benchmarks/few_labels.py installs           # 20,000 simulated users, planted causes
    python benchmarks/few_labels.py installs --objective next
    python benchmarks/few_labels.py ml-1m              # gender from the films rated

At each share of the labels five draws of labels and weights, judged on the same test users, whose events pretraining
never saw. Rivals are fitted on the same labels: bag of events + logistic regression, + LightGBM. The settings below
were chosen on another simulation (installs) and on another split of the same users (ml-1m). Real data is read from
$HABITUS_DATA (default ../shared/data). Peers of the method: CoLES (Babaev et al. 2022, arXiv:2002.08232), whose
few-label study is on other data.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from habitus.data.options import Data
from habitus.data.simulate import simulate_installs
from habitus.data.split import PretrainSplit, Split
from habitus.evaluate.few_labels import read_shares
from habitus.evaluate.few_labels_run import few_labels_run, panels_of
from habitus.model import Options, SequenceModel
from habitus.model.pretrain_options import PretrainOptions
from habitus.model.start import Start
from habitus.tasks import Classify
from habitus.tasks.pretrain import OBJECTIVES, Pretrain
from habitus.training import ProgressBar, Training

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
SETTINGS: dict[str, dict[str, Any]] = {
    "installs": {
        "task": Pretrain("order"),
        "training": Training(epochs=6, batch_tokens=4096, learning_rate=4e-3, tracker=None),
        "factors": 0,
        "options": Options(),
        "data": Data(),
    },
    "ml-1m": {
        "task": Pretrain("next"),
        "training": Training(epochs=1, batch_tokens=4096, learning_rate=2e-3, tracker=None),
        "factors": 64,
        "options": Options(),
        "data": Data(max_length=200),
    },
}


def tables(name: str, n_users: int, seed: int) -> tuple[str, Any, Any]:
    """Return the target, events and examples of a set."""
    if name == "installs":
        simulation = simulate_installs(n_users, seed=seed)
        return "risk", simulation.events, simulation.labels
    events = pl.read_parquet(DATA / "ml-1m" / "events.parquet").select("user_id", "item_id", "timestamp")
    users = pl.read_csv(DATA / "ml-1m" / "users.csv").select("user_id", "gender")
    return "gender", events, users


def main() -> None:
    """Pretrain, then print both tables of the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=list(SETTINGS), nargs="?", default="installs")
    parser.add_argument("--objective", choices=OBJECTIVES, help="of pretraining; default: the set's own")
    parser.add_argument("--labels", default="5%")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--out", default=None, help="keep the bundle and the report here")
    given = parser.parse_args()
    if given.set == "ml-1m" and not (DATA / "ml-1m").is_dir():
        print(f"'{DATA / 'ml-1m'}' is absent, so that this set is skipped; set HABITUS_DATA to the folder with it.")
        return
    chosen = SETTINGS[given.set]
    target, events, examples = tables(given.set, given.users, given.seed)
    out = Path(given.out or tempfile.mkdtemp())
    split, began = Split(seed=given.seed), time.monotonic()
    if not (out / "pretrained" / "manifest.json").is_file():
        model = SequenceModel(
            Pretrain(given.objective) if given.objective else chosen["task"],
            data=chosen["data"],
            split=PretrainSplit(test=split.test, seed=given.seed),  # the users that judge are left out whole
            training=chosen["training"],
            options=PretrainOptions(factors=chosen["factors"]),
            seed=given.seed,
        )
        model.fit(events, examples, callbacks=[ProgressBar()])
        model.save(out / "pretrained")
        print(f"pretrained in {time.monotonic() - began:.0f} s: {model.history_[-1]}", flush=True)
    start = Start.read(out / "pretrained")
    own = {"from scratch": SequenceModel(Classify(target)).backbone_from(start.backbone)}
    document = few_labels_run(
        Classify(target), own, events, examples, out / "curve", shares=read_shares(given.labels), n_seeds=given.seeds,
        start=start, data=chosen["data"], split=split, options=chosen["options"], seed=given.seed,
        callbacks=lambda name: print(name, f"{time.monotonic() - began:.0f} s", flush=True) or [],
    )  # fmt: skip
    for panel in panels_of(document)[1:]:
        print(f"\n| {' | '.join(panel['columns'])} |\n|{'---|' * len(panel['columns'])}")
        for row in panel["rows"]:
            print(f"| {' | '.join(row)} |")
    for point in document["shares"]:
        print({name: [round(one, 4) for one in found["each"]] for name, found in point["models"].items()})
    print(f"\n{document['verdict']} {time.monotonic() - began:.0f} s in all.")


if __name__ == "__main__":
    main()
