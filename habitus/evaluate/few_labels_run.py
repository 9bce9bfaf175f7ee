"""A label curve as a run: `habitus compare classify ... --labels 1%,5%,100% --from DIR`.

DIR/few_labels.json metrics.json data.json report.html        no model is kept: fit the one that is wanted
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from habitus.data.options import Data
from habitus.data.split import Split
from habitus.errors import ConfigError
from habitus.evaluate.few_labels import Contender, run_curve
from habitus.evaluate.folder import environment_facts, finite, remove_stale, write_json, write_report_if_possible
from habitus.model import LabelledModel, Options
from habitus.model.start import Start
from habitus.prepared import prepare
from habitus.tasks import Task
from habitus.training import Callback, Training


def few_labels_run(
    task: Task,
    backbones: Mapping[str, Any],
    events: Any,
    examples: Any,
    out: str | Path,
    *,
    shares: Sequence[float],
    n_seeds: int = 5,
    start: Start | None = None,
    data: Data | None = None,
    split: Split | None = None,
    training: Training | None = None,
    options: Options | None = None,
    seed: int = 0,
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: (),
    command: str = "",
) -> dict[str, Any]:
    """Fit every backbone from scratch, the start's where one is given, and the rivals, on each share of the labels.

    Args:
        task: what to predict.
        backbones: by name.
        events, examples: as `SequenceModel.fit` takes them.
        out: the run folder.
        shares: of the labels of the training and validation part, ascending.
        n_seeds: how often labels, weights and batches are drawn.
        start: a pretrained bundle.
        data, split, training, options: as for `SequenceModel`.
        seed: of the split, and the first of the seeds.
        callbacks: gives the callbacks that watch the model of a name.
        command: how to run it again, for the report.

    Returns:
        What `few_labels.json` holds.
    """
    data, split = data or Data(), split or Split(seed=seed)
    if not split.test or n_seeds < 1:
        raise ConfigError(f"A label curve needs a test part and a seed or more (test={split.test}, seeds={n_seeds}).")
    out, began = Path(out), time.monotonic()
    shared = {"data": data, "split": split, "training": replace(training or Training(), tracker=None)}
    shared["options"] = options or Options()
    prepared = prepare(task, events, examples, data, split)
    contenders = {name: Contender(_maker(task, one, shared), prepared) for name, one in backbones.items()}
    notes: list[str] = []
    if start is not None:
        own = prepare(task, events, examples, data, split, start.encoder)
        notes = start.refuse_leaks(own.examples)
        contenders["pretrained"] = Contender(_maker(task, None, shared), own, start)
    seeds = range(seed, seed + n_seeds)
    document, _ = run_curve(task, contenders, shares, seeds, callbacks)
    document |= {"task": task.name, "target": _target(task), "notes": [*notes, *_protocol(split, n_seeds)]}
    document["verdict"] = _verdict(document)
    document["run"] = {**environment_facts(command, time.monotonic() - began), "seed": seed}
    _write(document, out)
    return document


def _maker(task: Task, backbone: Any, shared: Mapping[str, Any]) -> Callable[[int], LabelledModel]:
    return lambda seed: LabelledModel(task, backbone, **shared, seed=seed)


def _target(task: Task) -> Any:
    return task.target if isinstance(task.target, str) else list(task.target)


def _protocol(split: Split, n_seeds: int) -> list[str]:
    return [
        f"The test examples are the same at every share ({split.sentence()}).",
        f"{n_seeds} seeds: each draws which entities of training and validation keep their labels (a smaller share is "
        "part of a larger one), initial weights and batches.",
        "The validation labels shrink with the training labels; early stopping, strengths of linear models and rounds "
        "of boosting are chosen on what is left of them.",
        "Vocabularies are learned from all histories of the training part, which need no labels, alike for every model "
        "that is not pretrained.",
        "Intervals of differences cover the draw of labels, the seeds and the test examples; those of single models "
        "cover the draw of labels and the seeds alone.",
    ]


def _verdict(document: Mapping[str, Any]) -> str:
    """Say at which shares the last contender is ahead of everything else."""
    ahead, ours = [], ""
    for point in document["shares"]:
        gaps = point["differences"]
        ours = next(iter(gaps), " - ").partition(" - ")[0]
        if gaps and all(gap["low"] is not None and gap["low"] > 0 for gap in gaps.values()):
            ahead.append(f"{point['share']:.3g}")
    if not ours.strip():
        return "One model alone: there is nothing to compare it with."
    if not ahead:
        return f"At no share of the labels is {ours} ahead of all others by a paired 95 % interval."
    return (
        f"{ours} is ahead of all others, by paired 95 % intervals, with these shares of the labels: {', '.join(ahead)}."
    )


def _write(document: Mapping[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    remove_stale(out)
    write_json(out / "few_labels.json", finite(document))
    write_json(out / "metrics.json", finite(metrics_of(document)))
    write_json(out / "data.json", {"notes": list(document["notes"])})
    write_report_if_possible(out)


def metrics_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document as the report of any task reads it: the largest share in front, the curve as panels."""
    last, main = document["shares"][-1], document["primary"]
    names = list(last["models"])
    ours = next(iter(last["differences"]), names[0]).partition(" - ")[0]
    others = [name for name in names if name != ours]
    return {
        "task": "few labels",
        "target": document["target"],
        "n": document["n"],
        "unit": "test examples",
        "split": "test",
        "primary": main,
        "model": ours,
        "metrics": {main: _interval(last["models"][ours])},
        "baselines": {name: {main: _interval(last["models"][name])} for name in others},
        "differences": {pair: {main: _interval(gap)} for pair, gap in last["differences"].items()},
        "protocol": {f"{number}.": note for number, note in enumerate(document["notes"], start=1)},
        "panels": panels_of(document),
        "run": document["run"],
    }


def panels_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the curve, the table of values and the table of paired differences."""
    shares, main = document["shares"], document["primary"]
    names = list(shares[0]["models"])
    percent = [100 * point["share"] for point in shares]

    def line(name: str) -> dict[str, Any]:
        found = [point["models"][name] for point in shares]
        ends = {end: [one[end] for one in found] for end in ("low", "high") if found[0][end] is not None}
        return {"name": name, "x": percent, "y": [one["value"] for one in found], **ends}

    labels = [f"{sum(one['train'] for one in p['labels']) / len(p['labels']):,.0f}" for p in shares]
    head = [f"{x:g} % ({n} labels)" for x, n in zip(percent, labels, strict=True)]
    rows = [[name, *(_said(p["models"][name]) for p in shares)] for name in names]
    pairs = [[pair, *(_said(p["differences"][pair], "+") for p in shares)] for pair in shares[0]["differences"]]
    return [
        {
            "kind": "lines", "title": "Fewer labels", "x_label": "percent of the labels", "y_label": main,
            "caption": "Means over seeds on the same test examples; bands are 95 % intervals over labels and seeds.",
            "lines": [line(name) for name in names],
        },
        {
            "kind": "table", "title": f"{main} by share of the labels", "columns": ["model", *head], "rows": rows,
            "caption": "Means with 95 % intervals over labels and seeds.",
        },
        {
            "kind": "table", "title": "Paired differences", "columns": ["pair", *head], "rows": pairs,
            "caption": "On the same test examples and labels; 95 % intervals over labels, seeds and test examples.",
        },
    ]  # fmt: skip


def _interval(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("value", "low", "high")}


def _said(found: Mapping[str, Any], sign: str = "") -> str:
    form = f"{sign}.3f"
    ends = "" if found["low"] is None else f" [{found['low']:{form}}, {found['high']:{form}}]"
    return f"{found['value']:{form}}{ends}"
