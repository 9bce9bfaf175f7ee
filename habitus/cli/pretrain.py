"""`habitus pretrain`: learn from histories without labels, for a later fit with few."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional

import typer

from habitus.cli import options as opt
from habitus.cli.fit import refuse_file, watchers, wrote_run
from habitus.cli.help import command_line
from habitus.cli.output import notes, print_json, say
from habitus.cli.settings import build_data, build_plan, read_settings

PRETRAIN = "pretrain"
Until = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="Table of examples: events at or after an entity's first cutoff are left out. Labels stay unread."
    ),
]
_TASK = opt.group(
    "Options",
    objective=(
        Literal["next", "masked", "contrastive", "order"],
        "task.objective",
        "What is learned: the next event, hidden events, which slices are of one entity, or what came soon after what.",
        "next",
    ),
    factors=(int, "options.factors", "Factors of each large category, for the linear path of what starts here.", "0"),
)
_SHARES = opt.group(
    "Which entities are left out",
    validation=(float, "split.validation", "Share of entities that chooses the best epoch.", "0.05"),
    test=(float, "split.test", "Share that is left out whole: those that judge a fit of the same seed.", "0.0"),
)
_TRAINING = {name: opt.TRAINING[name] for name in ("epochs", "learning_rate", "batch_tokens", "threads")}
_FLAGS = {
    **_TASK, **opt.BACKBONE, **opt.SEED, **_TRAINING, **opt.SETTING, **_SHARES, **opt.TEXT, **opt.READING,
    "max_length": opt.LENGTH["max_length"],
}  # fmt: skip


@opt.fits(_FLAGS)
def pretrain(
    run: opt.Run,
    events: opt.EventsUnlessText = None,
    examples: Until = None,
) -> None:
    """Learn from histories without labels.

    Saves vocabularies and weights, from which `habitus fit classify ... --from DIR` starts.

    Example:

        habitus pretrain --events installs.parquet --examples labels.parquet --out runs/pretrained
    """
    settings, out = read_settings(run.config, run.given, PRETRAIN, run.flags), run.out
    build_data(settings).refuse_sources(events)
    refuse_file(out)
    plan = build_plan(settings)
    from habitus.evaluate.pretrain_run import pretrain_run

    (backbone,) = plan.backbones.values()
    model: Any = plan.model(plan.task, backbone, **plan.parts)
    again = command_line([one for one in run.typed if one != "--resume"])
    document = pretrain_run(
        model, events, examples, out, resume=run.resume, callbacks=watchers(run.quiet), command=again
    )
    notes(document["notes"])
    print_json(document) if run.as_json else say(document["sentence"])
    wrote_run(out, f"habitus fit classify ... --from {out}")
