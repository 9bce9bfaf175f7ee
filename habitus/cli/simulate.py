"""`habitus simulate installs` and `habitus demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from habitus.cli import options as opt
from habitus.cli.fit import print_comparison, watchers
from habitus.cli.help import command_line
from habitus.cli.output import print_json, say, wrote
from habitus.config import build

Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]


def simulate_installs(
    out: Annotated[
        Path, typer.Option(help="Folder for installs.parquet, labels.parquet, truth.parquet and README.md.")
    ],
    users: Annotated[int, typer.Option(min=1, help="How many people.")] = 20_000,
    seed: Seed = 0,
) -> None:
    """Simulate a year of app installs.

    The causes of the labels are known; README.md in the folder states them.

    Example:

        habitus simulate installs --users 2000 --seed 0 --out data/installs
    """
    from habitus.data.simulate import simulate_chunks, write_installs

    folder = write_installs(simulate_chunks(users, seed), out)
    names = ("installs.parquet", "labels.parquet", "truth.parquet", "README.md")
    say(f"{users:,} people in {folder}.")
    data = f"--events {folder / names[0]} --examples {folder / names[1]}"
    wrote([folder / name for name in names], f"habitus fit classify {data} --target risk --out runs/risk")


def demo(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/demo"),
    users: Annotated[int, typer.Option(min=100, help="How many people to simulate.")] = 4_000,
    seed: Seed = 0,
    epochs: Annotated[
        int | None, typer.Option(help="Most passes over the training rows.  [default: 10]", show_default=False)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of torch.  [default: torch's choice]", show_default=False)
    ] = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Show it all on a simulated log.

    Simulates app installs, trains a Transformer and a GRU, compares them with counting, and writes a report.

    Example:

        habitus demo --out runs/demo
    """
    from habitus.audit import find_prepared_leaks
    from habitus.evaluate.demo import run_demo
    from habitus.training import Training

    chosen = {"epochs": epochs or 10, "threads": threads}
    training = build(Training, {name: value for name, value in chosen.items() if value is not None}, "the options")
    document = run_demo(
        out,
        n_users=users,
        seed=seed,
        training=training,
        callbacks=lambda name: watchers(quiet, name),
        command=command_line(ctx.obj),
        audit=find_prepared_leaks,
    )
    if as_json:
        print_json(document)
    else:
        print_comparison(document)
        if best := document.get("best_possible_auc"):
            say(f"The best possible AUC, that of the simulation's true probabilities, is {best['value']:.3f} here.")
    events = out / "data" / "installs.parquet"
    wrote(
        [out / "model", out / "compare.json", out / "report.html"],
        f"habitus predict {out} --events {events} --out {out / 'scores.parquet'}",
    )
