"""`habitus fit next-event`, `habitus compare next-event` and `habitus recommend`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from habitus.cli import options as opt
from habitus.cli.fit import named, read_start, refuse_file, remembered, say_data, watchers, wrote_run
from habitus.cli.help import command_line
from habitus.cli.next_tables import print_next_comparison, print_next_evaluation
from habitus.cli.output import notes, print_json, say, wrote
from habitus.cli.scoring import load_model, moment, refuse_format, said, write_scores
from habitus.cli.settings import NEXT_EVENT, Plan, build_plan, read_settings, with_preset
from habitus.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl

_SHARED = {
    **opt.NEXT_TASK, **opt.SEED, **opt.NEXT_TRAINING, **opt.SETTING, **opt.NEXT_SPLITTING, **opt.NEXT_READING,
    **opt.NEXT_LENGTH,
}  # fmt: skip


@opt.fits({**opt.BACKBONE, **opt.STARTING, **_SHARED})
def fit_next_event(
    events: opt.Events,
    run: opt.Run,
    preset: opt.Preset = None,
    start: opt.From = None,
) -> None:
    """Train a model of what each user does next, and judge it.

    Counting rivals answer the same questions. Writes the model, metrics.json and report.html into the folder; the
    model remembers where its log is.

    Example:

        habitus fit next-event --events events.parquet --item item_id --split temporal --out runs/next
    """
    settings, out = read_settings(run.config, run.given, NEXT_EVENT, run.flags), run.out
    begun = read_start(start, settings)
    plan = build_plan(with_preset(settings, preset))
    refuse_file(out)
    from habitus.evaluate.next_run import fit_next_run
    from habitus.model import NextEventModel

    (backbone,) = plan.backbones.values()
    model = NextEventModel(plan.task, backbone, **plan.parts)
    again = command_line([one for one in run.typed if one != "--resume"])
    fit_next_run(
        model, remembered(events), out, start=begun, resume=run.resume, callbacks=watchers(run.quiet), command=again
    )
    say_data(out)
    evaluation = {} if model.evaluation_ is None else model.evaluation_.to_json()
    if run.as_json:
        print_json({**evaluation, "out": str(out), "best_epoch": model.result_.best_epoch})
    elif evaluation:
        print_next_evaluation(evaluation, model.name)
    else:
        say("Trained on every event but those that choose the best epoch (split none); nothing is left to judge on.")
    wrote_run(out, f"habitus recommend {out} --events NEW_EVENTS --k 10 --out recommendations.parquet")


@opt.compares(_SHARED)
def compare_next_event(
    events: opt.Events,
    run: opt.Run,
    preset: opt.Preset = None,
) -> None:
    """Train several next-event models on the same histories.

    Says which is best, counting rivals included, or that it is a tie. Writes compare.json and report.html.

    Example:

        habitus compare next-event --events events.parquet --item item_id --out runs/compared
    """
    plan, out = _plan(run, preset, named(run.backbones)), run.out
    refuse_file(out)
    from habitus.evaluate.next_compare import compare_next_run

    document = compare_next_run(
        plan.task,
        plan.backbones,
        remembered(events),
        out,
        **plan.parts,
        callbacks=lambda name: watchers(run.quiet, name),
        command=command_line(run.typed),
    )
    say_data(out)
    print_json(document) if run.as_json else print_next_comparison(document)
    wrote_run(out, f"habitus recommend {out} --events NEW_EVENTS --k 10 --out recommendations.parquet")


def recommend(
    folder: opt.RunFolder,
    events: opt.Events,
    out: opt.Scores,
    k: Annotated[int, typer.Option(min=1, help="Items a user.")] = 10,
    filter_seen: Annotated[
        bool | None,
        typer.Option(
            "--filter-seen/--no-filter-seen",
            help="Leave out what the user has had already.  [default: as training chose]",
            show_default=False,
        ),
    ] = None,
    candidates: Annotated[
        Path | None,
        typer.Option(help="Only these items: a text file with one a line, or a table whose first column holds them."),
    ] = None,
    at: opt.At = None,
) -> None:
    """Recommend the likeliest next items to every user of a log.

    Writes the entity, the item, its score and its rank from 1; at most k rows a user. Users need not be known from
    training.

    Example:

        habitus recommend runs/next --events events.parquet --k 10 --out recommendations.parquet
    """
    refuse_format(out)
    allowed = None if candidates is None else read_candidates(candidates)
    when = None if at is None else moment(at)
    model = load_model(folder)
    if model.task.name != NEXT_EVENT:
        raise ConfigError(
            f"'{folder}' holds a model of the task '{model.task.name}', which recommends nothing; use habitus predict."
        )
    from habitus.prepared import read_log

    log = read_log(events, model.data, model.encoder_.schema)
    found = model.recommend(log, k, filter_seen=filter_seen, candidates=allowed, at=when)  # type: ignore[attr-defined]
    paths = [write_scores(found, out)]
    if log.rejects.total:
        paths.append(log.rejects.write_csv(out.with_name(f"{out.stem}.rejects.csv")))
    notes([*log.notes, *said(log.rejects), *_said_candidates(model, allowed)])
    n_users = found[found.columns[0]].n_unique()
    say(f"{found.height:,} recommendations to {n_users:,} users in {out}: columns {', '.join(found.columns)}.")
    wrote(paths)


def read_candidates(path: Path) -> pl.Series:
    """Return the items in a file: one a line, or the first column of a Parquet, CSV or Arrow table."""
    import polars as pl

    readers: dict[str, Any] = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".arrow": pl.read_ipc}
    try:
        if path.suffix in readers:
            table = readers[path.suffix](path)
            found = table.to_series(0) if table.width else pl.Series([], dtype=pl.String)
        else:
            lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
            found = pl.Series([line for line in lines if line], dtype=pl.String)
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"The candidates '{path}' cannot be read ({reason}); give a text file with one item a line, or a Parquet, "
            "CSV or Arrow table."
        ) from error
    if not found.drop_nulls().len():
        raise DataError(f"The candidates '{path}' hold no item; give one a line, or leave --candidates out.")
    return found.drop_nulls()


def _said_candidates(model: Any, allowed: pl.Series | None) -> list[str]:
    """Say how many candidates the model does not know."""
    if allowed is None:
        return []
    from habitus.fields.category import N_RESERVED

    n_unknown = int((model.vocabulary_.encode(allowed) < N_RESERVED).sum())
    sentence = f"{n_unknown:,} of {len(allowed):,} candidates are items that training never saw; they are left out."
    return [sentence] if n_unknown else []


def _plan(run: opt.Run, preset: str | None, backbones: Sequence[str] = ()) -> Plan:
    return build_plan(with_preset(read_settings(run.config, run.given, NEXT_EVENT, run.flags), preset), backbones)
