"""The model card that travels in a bundle: what the model is, what it was judged on, what to be careful about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from habitus.evaluation import Evaluation
    from habitus.model import SequenceModel


def write_card(model: SequenceModel) -> str:
    """Return the card as Markdown."""
    schema, task = model.encoder_.schema, model.task
    fields = ", ".join(f"`{name}`" for name in schema.fields) or "none"
    profile = ", ".join(f"`{name}`" for name in schema.profile) or "none"
    lines = [
        f"# Model card: {task.name} `{task.target}`",
        "",
        f"- **Answers**: the probabilities of {len(task.classes_)} classes ({', '.join(task.classes_[:10])})",
        f"  for an entity (`{schema.entity}`) at a moment (`{schema.cutoff}`), from its events strictly before it.",
        f"- **Reads**: event fields {fields}; profile fields {profile}; time of events: {model.options.use_time}.",
        f"- **Network**: {model.backbone}.",
        f"- **Histories**: at most {model.data.max_length} events ({model.data.history}); events of equal time keep",
        "  the order of the log; an empty history is read as one event whose fields are all missing.",
        f"- **Split**: {model.split.sentence()}.",
        f"- **Trained**: {len(model.history_)} epochs, weights of epoch {model.result_.best_epoch}; seed {model.seed}.",
        f"- **Calibration**: {model.calibration_.kind}.",
        "",
        *_figures(getattr(model, "evaluation_", None)),
        "## Be careful",
        "",
        "- The figures hold for entities and times like those of the test part; watch the scores when either drifts.",
        "- Unknown categories and missing values are scored by the rules in `docs/data.md`, not refused.",
        "- The model has not been examined for unfair treatment of groups.",
        "",
    ]
    return "\n".join(lines)


def _figures(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return ["No examples were held out, so that there are no test figures.", ""]
    rows = {"this model": evaluation.metrics, **evaluation.baselines}
    table = [f"| {name} | {metrics['auc']} | {metrics['log_loss']} |" for name, metrics in rows.items()]
    head = [f"## Test figures (n = {evaluation.n:,}, 95 % intervals)", "", "| | AUC | log-loss |", "|---|---|---|"]
    return [*head, *table, ""]
