"""A run of next-event prediction: fit a model on a log and leave a folder that shows what it is worth.

DIR/model/ metrics.json history.json data.json rejects.csv report.html
DIR/checkpoint/ (while training) DIR/logs/ (of the tracker)

The bundle remembers where its log is, so that `evaluate` finds it again.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from habitus.evaluate.folder import finite, remove_stale, run_facts, write_json, write_report_if_possible
from habitus.evaluate.next_ranks import Ranks, by_popularity, headline_ranks
from habitus.evaluate.next_summary import describe_next
from habitus.evaluate.next_timelines import timelines
from habitus.model import NextEventModel
from habitus.model.start import Start
from habitus.next_prepared import PreparedNext
from habitus.training import Callback

_MOST_RANKED = 20_000  # questions from which hits by popularity are drawn


def fit_next_run(
    model: NextEventModel,
    events: Any,
    out: str | Path,
    *,
    start: Start | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    command: str = "",
) -> NextEventModel:
    """Fit a model and write its run folder, report included.

    Args:
        model: not fitted yet.
        events: the log; a path should be absolute, because the model remembers it.
        out: the run folder; results of an earlier run in it are replaced.
        start: a pretrained bundle that the model goes on from.
        resume: go on from the checkpoint that a killed run left in the folder.
        callbacks: watch the training.
        command: how to run it again, for the report.
    """
    out, began = Path(out), time.monotonic()
    prepared = model.begin_from(start).prepare(events)
    out.mkdir(parents=True, exist_ok=True)
    if callbacks:  # somebody watches
        print(model.task.catalogue_loss.sentence(prepared.encoder.sizes[model.task.item]), file=sys.stderr)
    model.fit_prepared(prepared, folder=out, resume=resume, callbacks=callbacks)
    remove_stale(out)
    write_next_run(model, prepared, out, run_facts(model, command, time.monotonic() - began))
    if model.evaluation_ is not None:
        write_report_if_possible(out)
    return model


def write_next_run(
    model: NextEventModel, prepared: PreparedNext, out: Path, facts: Mapping[str, Any], ranks: Ranks | None = None
) -> None:
    """Write the run folder of a fitted model; the checkpoint goes once the bundle stands.

    Args:
        model: fitted on `prepared`.
        prepared: the data.
        out: the run folder.
        facts: from `run_facts`.
        ranks: of the test part, if they are known already.
    """
    model.save(out / "model")
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    write_json(out / "history.json", finite(model.history_))
    write_json(out / "data.json", finite(describe_next(model, prepared)))
    if model.evaluation_ is not None:
        write_json(out / "metrics.json", finite(_metrics_document(model, prepared, facts, ranks)))
    if prepared.log.rejects.total:
        prepared.log.rejects.write_csv(out / "rejects.csv")


def _metrics_document(
    model: NextEventModel, prepared: PreparedNext, facts: Mapping[str, Any], ranks: Ranks | None
) -> dict[str, Any]:
    """Return what `metrics.json` holds: the evaluation, hits by popularity, examples, and facts of the run."""
    assert model.evaluation_ is not None, "there is a test part"
    ranks = ranks or headline_ranks(model, prepared, _MOST_RANKED)
    return model.evaluation_.to_json() | {
        "model": model.name,
        "primary": model.task.monitor,
        "when": model.task.predicts_when,
        "best_epoch": model.result_.best_epoch,
        "padding_waste": model.result_.padding_waste,
        "by_popularity": {"n": len(ranks.questions), "bands": by_popularity(ranks, model.popularity_)},
        "timelines": timelines(model, prepared),
        "run": dict(facts),
    }
