"""Forecasts of public series beside naive rivals, a straight line, exponential smoothing and published figures.

    python benchmarks/forecast.py etth1                                          # 96 hours, 7 variables, 12/4/4 months
    python benchmarks/forecast.py etth1 --context 96 --epochs 2 --windows 6000   # the short look-back
    python benchmarks/forecast.py etth1 --loss mse --epochs 2 --windows 3000     # the mean, as published tables learn
    python benchmarks/forecast.py etth1-ot                                       # the oil temperature alone
    python benchmarks/forecast.py traffic --windows 6000                         # 96 hours of traffic volume

Real data is read from $HABITUS_DATA (default ../shared/data); a set that is absent is skipped with a sentence. Prints a
Markdown table a run. Everything is chosen on validation; every origin of the test part is judged once.
ETTh1: Zhou et al. 2021, CC BY-ND 4.0. Traffic: Hogue 2019, Metro Interstate Traffic Volume, UCI, CC BY 4.0.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import polars as pl

from habitus.data.series.split import SeriesSplit
from habitus.data.series.table import SeriesData
from habitus.model import BACKBONES, SequenceModel
from habitus.model.forecast import ForecastModel, ForecastOptions
from habitus.tasks.forecast import Forecast
from habitus.training import ProgressBar, Training

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
SHOWN = ("mase", "mse", "mae", "crps", "coverage_80")
# Look-back, MSE, MAE on the standardised scale, ETTh1 96 -> 96, all variables.
PUBLISHED = (
    ("DLinear", 336, 0.375, 0.399, "Zeng et al. 2023, arXiv:2205.13504, table 2"),
    ("PatchTST/42", 336, 0.375, 0.399, "Nie et al. 2023, arXiv:2211.14730, table 3"),
    ("repeat the last value", 1, 1.295, 0.713, "Zeng et al. 2023, arXiv:2205.13504, table 2"),
    ("DLinear", 96, 0.386, 0.400, "as run in Liu et al. 2024, arXiv:2310.06625, table 10"),
    ("PatchTST", 96, 0.414, 0.419, "as run in Liu et al. 2024, arXiv:2310.06625, table 10"),
)


def etth1() -> pl.DataFrame:
    """Return the seven series of one transformer; naive times are read as UTC."""
    return pl.read_csv(DATA / "etth1" / "ETTh1.csv")


def traffic() -> pl.DataFrame:
    """Return the hourly volume; the file repeats an hour for each kind of weather, with the same volume."""
    table = pl.read_csv(DATA / "hourly-traffic" / "hourly_traffic_volume.csv", columns=["date_time", "traffic_volume"])
    return table.unique("date_time", keep="first", maintain_order=True)


SETS: dict[str, dict[str, Any]] = {
    "etth1": {
        "read": etth1,
        "task": {"horizon": 96},
        "split": {"train_steps": 8640, "validation_steps": 2880, "test_steps": 2880},
        "data": {"time_zone": "UTC"},
    },
    "etth1-ot": {
        "read": etth1,
        "task": {"value": ("OT",), "horizon": 96},
        "split": {"train_steps": 8640, "validation_steps": 2880, "test_steps": 2880},
        "data": {"time_zone": "UTC"},
    },
    "traffic": {
        "read": traffic,
        "task": {"value": ("traffic_volume",), "horizon": 96},
        "split": {},
        "data": {"time": "date_time", "time_zone": "UTC"},
    },
}


def build(name: str, args: argparse.Namespace) -> SequenceModel:
    """Return the model of a set."""
    chosen = SETS[name]
    defaults = ForecastModel.backbone_defaults(None, args.backbone)
    more = {} if args.context is None else {"context": args.context}
    return SequenceModel(
        Forecast(**chosen["task"], **more, loss=args.loss),
        BACKBONES[args.backbone](hidden_size=args.hidden_size, **defaults),
        data=SeriesData(**chosen["data"]),
        split=SeriesSplit(**chosen["split"]),
        training=Training(epochs=args.epochs, threads=1, device="cpu", tracker=None),
        options=ForecastOptions(windows_per_epoch=args.windows, baselines=tuple(args.baselines.split(","))),
        seed=args.seed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=list(SETS))
    parser.add_argument("--backbone", default="transformer", choices=list(BACKBONES))
    parser.add_argument("--hidden-size", type=int, default=64)
    parser.add_argument("--context", type=int)
    parser.add_argument("--loss", default="quantile", choices=["quantile", "mse", "mae"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--windows", type=int, default=20_000, help="windows an epoch")
    parser.add_argument("--baselines", default="last value,seasonal naive,linear,ets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()
    try:
        log = SETS[args.set]["read"]()
    except FileNotFoundError as error:
        print(f"{args.set} is absent ({error}); set HABITUS_DATA to the folder that holds it.")
        return
    began = time.process_time()
    model: Any = build(args.set, args)
    model.fit(log, callbacks=[] if args.quiet else [ProgressBar()])
    print_table(args, model, time.process_time() - began)


def print_table(args: argparse.Namespace, model: Any, seconds: float) -> None:
    """Print the metrics with intervals, paired differences, and published figures."""
    found = model.evaluation_
    best = f"best epoch {model.result_.best_epoch} of {len(model.history_)}"
    print(f"\n{args.set}: {found.target}; n = {found.n:,} {found.unit}; {best}; {seconds:.0f} s of one core in all")
    print(f"context {found.protocol['context']}, MASE season {found.protocol['mase_season']}", *found.notes, sep="; ")
    header = ["model", *SHOWN, "MASE, model minus this, paired"]
    print(f"\n| {' | '.join(header)} |\n{'|---' * len(header)}|")
    for name, metrics in {f"**{model.name} ({args.loss})**": found.metrics, **found.baselines}.items():
        cells = " | ".join(printed(metrics[metric]) for metric in SHOWN)
        gap = found.differences.get(f"model - {name}")
        paired = "" if gap is None else f"{gap['mase'].value:+.3f} [{gap['mase'].low:+.3f}, {gap['mase'].high:+.3f}]"
        print(f"| {name} | {cells} | {paired} |")
    if args.set == "etth1":
        for name, look_back, mse, mae, source in PUBLISHED:
            print(f"| {name}, look-back {look_back} ({source}) | | {mse:.3f} | {mae:.3f} | | | |")


def printed(one: Any) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]" if one.is_defined else ""


if __name__ == "__main__":
    main()
