"""A run of pretraining: a bundle and what training recorded.

DIR/model/ history.json pretrain.json         DIR/checkpoint/ (while training) DIR/logs/ (of the tracker)
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from habitus.evaluate.folder import finite, run_facts, write_json
from habitus.model.pretrain import PretrainModel
from habitus.training import Callback


def pretrain_run(
    model: PretrainModel,
    events: Any,
    examples: Any | None,
    out: str | Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    command: str = "",
) -> dict[str, Any]:
    """Pretrain a model and write its run folder.

    Args:
        model: not fitted yet.
        events, examples: as `PretrainModel.fit` takes them.
        out: the run folder.
        resume: go on from the checkpoint that a killed run left in the folder.
        callbacks: watch the training.
        command: how to run it again.

    Returns:
        What `pretrain.json` holds: how much was read, what the best epoch reached, and a sentence about both.
    """
    out, began = Path(out), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    model.fit(events, examples, folder=out, resume=resume, callbacks=callbacks)
    hash_ = model.save(out / "model")
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    best = model.history_[model.result_.best_epoch - 1]
    document = {
        "objective": model.task.objective,
        "hash": hash_,
        **model.learned_from_,
        "best_epoch": model.result_.best_epoch,
        "monitor": best["monitor"],
        "value": best["validation_metric"],
        "notes": model.notes_,
        "sentence": _sentence(model, best),
        "run": run_facts(model, command, time.monotonic() - began),
    }
    write_json(out / "history.json", finite(model.history_))
    write_json(out / "pretrain.json", finite(document))
    return document


def _sentence(model: PretrainModel, best: Any) -> str:
    facts = model.learned_from_
    return (
        f"Learned from {facts['n_events']:,} events of {facts['n_entities']:,} entities by the objective "
        f"'{model.task.objective}': {best['monitor']} {best['validation_metric']:.4f} on held-out entities "
        f"(epoch {model.result_.best_epoch})."
    )
