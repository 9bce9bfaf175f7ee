"""The words of a report: names of metrics, the verdict, and what to be careful about.

Plain values in, sentences out. Sentences are plain text: the template escapes them. A tie is called a tie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from habitus.evaluate._numbers import PERCENT, Estimate, count, decimal, interval, number, percent, short

Record = Mapping[str, Any]
# name in metrics.json -> (name for a reader, what it says)
METRICS = {
    "auc": ("AUC", "the chance that a true example scores above a false one; 0.5 is guessing"),
    "roc_auc": ("AUC", "the chance that a true example scores above a false one; 0.5 is guessing"),
    "macro_auc": ("macro AUC", "the mean over classes of one class's AUC against the rest; 0.5 is guessing"),
    "average_precision": (
        "average precision",
        "the area under precision-recall; guessing gives the share that is true",
    ),
    "pr_auc": ("PR AUC", "the area under precision-recall; guessing gives the share that is true"),
    "macro_average_precision": ("macro average precision", "the mean over classes of the average precision"),
    "log_loss": ("log loss", "how surprised the probabilities are by what happened; lower is better"),
    "brier": ("Brier", "the mean squared error of the probabilities; lower is better"),
    "brier_score": ("Brier", "the mean squared error of the probabilities; lower is better"),
    "calibration_error": (
        "calibration error",
        "the mean gap between a score and how often it came true; lower is better",
    ),
    "ece": ("calibration error", "the mean gap between a score and how often it came true; lower is better"),
    "accuracy": ("accuracy", "the share of right answers; misleading when one answer is rare"),
    "balanced_accuracy": ("balanced accuracy", "the mean over classes of the share found"),
    "auc_micro": ("AUC, pooled", "the AUC over all labels together"),
    "pr_auc_micro": ("PR AUC, pooled", "the PR AUC over all labels together"),
    "f1_micro": ("F1, pooled", "F1 over all labels together"),
    "precision_micro": ("precision, pooled", "the precision over all labels together"),
    "recall_micro": ("recall, pooled", "the recall over all labels together"),
    "f1": ("F1", "the harmonic mean of precision and recall at the threshold"),
    "macro_f1": ("macro F1", "the mean over classes of F1; rare classes count as much as common ones"),
    "micro_f1": ("micro F1", "F1 over all answers together"),
    "mcc": ("MCC", "the correlation of answer and truth; 0 is guessing"),
    "ks": ("KS", "the widest gap between the score distributions of true and false examples"),
    "gini": ("Gini", "twice the AUC less one; 0 is guessing"),
    "precision": ("precision", "the share of alarms that were true"),
    "recall": ("recall", "the share of true examples that were found"),
    **{f"hr@{k}": (f"HR@{k}", f"the share of true items among the first {k}") for k in (1, 5, 10, 20)},
    **{
        f"ndcg@{k}": (f"NDCG@{k}", f"1 / log2(rank + 1) of the true item, 0 below rank {k}; 1 is always first")
        for k in (1, 5, 10, 20)
    },
    "spearman": ("Spearman", "the correlation of the order of answers with that of the scores; 1 is the same order"),
    "pearson": ("Pearson", "the correlation of answers with scores"),
    "mrr": ("MRR", "the mean of 1 / rank of the true item"),
    "coverage@10": ("coverage@10", "the share of the catalogue that stands in some list of ten"),
    "novelty@10": ("novelty@10", "how rare the listed items were in training, in bits; neither high nor low is better"),
    "mae_days": ("error, days", "how far off the predicted time is, in the mean; lower is better"),
    "baseline_mae_days": ("error of the median gap, days", "the same of the best constant"),
    "mae_difference_days": ("difference, days", "the model's error less the constant's; lower is better"),
    "mase": ("MASE", "the error over that of last season's values in training; 1 is no better; lower is better"),
    "smape": ("sMAPE", "the error in percent of the mean size of truth and forecast; lower is better"),
    "crps": ("CRPS", "the error of the whole predicted distribution, from its quantiles; lower is better"),
    "mae": ("MAE", "how far off an answer is, in the mean; lower is better"),
    "rmse": ("RMSE", "the root of the mean squared error; large misses count more; lower is better"),
    "mse": ("MSE", "the mean squared error; lower is better"),
    "r2": ("R²", "the share of the variance that is explained; 0 is the mean's, below it is worse"),
    "median_absolute_error": ("median error", "half of the answers are no further off than this; lower is better"),
    "bias": ("bias", "the mean of answer less truth; near 0 is better"),
    "pinball": ("pinball loss", "how far off the quantiles are, each side at its level's price; lower is better"),
    **{
        f"coverage_{share}": (f"coverage {share}", f"the share of truths between two quantiles; {share} % is honest")
        for share in (50, 60, 80, 90, 95, 98)
    },
    "token_f1": ("token F1", "how far the words of an answer are those of the true one; 1 is all of them"),
    "exact": ("exact match", "the share of answers that are the true one"),
    "has_answer_f1": ("token F1, answerable", "token F1 of the questions that have an answer"),
    "has_answer_exact": ("exact match, answerable", "exact match of the questions that have an answer"),
    "no_answer_exact": ("left unanswered", "the share of the questions without an answer that are left unanswered"),
    "bleu": ("BLEU", "how many runs of one to four words agree with the reference, 0 to 100"),
    "chrf": ("chrF", "how many runs of characters agree with the reference, 0 to 100"),
    "wer": ("word error rate", "words to change, add or remove over words spoken; lower is better"),
    "cer": ("character error rate", "characters to change, add or remove over characters spoken; lower is better"),
    "log_likelihood": ("log-likelihood", "nats of the true time under the predicted density; higher is better"),
}
_LOWER_IS_BETTER = {"brier", "brier_score", "ece", "mae", "rmse", "mse", "perplexity", "hamming"}
_LOWER_IS_BETTER |= {"mase", "smape", "crps", "wer", "cer", "pinball"}
_LOWER_IS_BETTER |= {"mae_days", "baseline_mae_days", "mae_difference_days"}
_LEADING = ("auc", "roc_auc", "macro_auc", "ndcg", "average_precision", "macro_f1")


def lower_is_better(metric: str) -> bool:
    """Say whether a smaller value of this metric is better, by its name."""
    return metric in _LOWER_IS_BETTER or metric.endswith(("_loss", "_error"))


def metric_name(metric: str) -> str:
    """Return a metric's name for a reader; an unknown one loses its underscores."""
    return METRICS[metric][0] if metric in METRICS else metric.replace("_", " ")


def primary(metrics: Record, named: object) -> str | None:
    """Return the metric that the answer is about: the one named, else the most telling, else the first."""
    if isinstance(named, str) and named in metrics:
        return named
    return next((name for name in _LEADING if name in metrics), next(iter(metrics), None))


def standing(metric: str, difference: Estimate) -> str:
    """Say what a paired difference (ours less theirs) shows: 'better', 'worse', 'tie' or '' (no interval).

    >>> standing("auc", Estimate(0.02, 0.01, 0.03)), standing("log_loss", Estimate(0.02, -0.01, 0.03))
    ('better', 'tie')
    """
    if difference.low is None or difference.high is None:
        return ""
    if difference.low <= 0 <= difference.high:
        return "tie"
    return "better" if (difference.low > 0) != lower_is_better(metric) else "worse"


def verdict(
    model: str,
    rival: str | None,
    metric: str,
    ours: Estimate,
    difference: Estimate | None,
    n: object,
    of: str = "test examples",
) -> str:
    r"""Answer in a sentence: does the model beat its best rival, by how much, on how many examples (or what `of` says).

    >>> verdict("the model", "GRU", "auc", Estimate(0.8), Estimate(0.02, 0.01, 0.03), 500)
    'The model beats its best rival, GRU, by 0.020 AUC on 500 test examples (95\xa0% interval +0.010 to +0.030).'
    """
    name, model, rival = metric_name(metric), short(model, 80), rival and short(rival, 80)
    on = f"on {count(n)} {of}" if number(n) is not None else f"on the {of}"
    if rival is None or difference is None:
        reached = f"{name} {decimal(ours.value)}" + (
            f" (95{PERCENT} interval {interval(ours)})" if interval(ours) else ""
        )
        lacks = "no rival was judged beside it" if rival is None else f"no paired difference from {rival} was recorded"
        sentence = f"{model} reaches {reached} {on}; {lacks}, so whether it beats counting is not known."
    else:
        by, within = f"{decimal(abs(difference.value))} {name}", f"95{PERCENT} interval {interval(difference, True)}"
        sentence = {
            "better": f"{model} beats its best rival, {rival}, by {by} {on} ({within}).",
            "worse": f"{model} does not beat {rival}: it is worse by {by} {on} ({within}).",
            "tie": f"A tie: {model} and its best rival, {rival}, cannot be told apart {on} "
            f"(difference {decimal(difference.value, True)} {name}, {within}).",
            "": f"{model} and its best rival, {rival}, differ by {by} {on}; without an interval this decides nothing.",
        }[standing(metric, difference)]
    return sentence[:1].upper() + sentence[1:]


def cautions(
    metrics: Record, data: Record, history: Sequence[Record], standing: str, n_intervals: int, n_unusable: int
) -> list[str]:
    """List what a reader of this run should be careful about: what is particular first, what always holds last."""
    even = "The best rival does as well as the model, or better: take whichever is simpler to run and to explain."
    found = [
        *([even] if standing in ("tie", "worse") else []),
        *_about_size(metrics, data),
        *_about_data(data),
        *_about_training(history),
    ]
    if n_unusable:
        found.append(f"{count(n_unusable)} test rows had no target or no usable score; the curves leave them out.")
    if n_intervals > 5:
        found.append(
            f"The table holds {n_intervals} paired intervals. About one in twenty leaves out zero by chance alone: "
            "read the main metric first and take a lone lead elsewhere lightly."
        )
    return [*found, *_ALWAYS]


def best_epoch(history: Sequence[Record]) -> int | None:
    """Return the row whose weights were kept: the last flagged `is_best`, else the least validation loss, else None.

    >>> best_epoch([{"validation_loss": 0.7}, {"validation_loss": 0.6}, {"validation_loss": 0.65}])
    1
    """
    flagged = [k for k, row in enumerate(history) if row.get("is_best") is True]
    losses = {k: loss for k, row in enumerate(history) if (loss := number(row.get("validation_loss"))) is not None}
    return flagged[-1] if flagged else min(losses, key=lambda k: losses[k], default=None)


_ALWAYS = (
    "The intervals cover the luck of drawing these test examples. They do not cover another seed, another period or "
    "other people: judge again on newer data before relying on it.",
    "A score says what tends to follow from such a history, not what causes it. Acting on it changes what comes next.",
    "Where a score decides about a person, check the groups that matter apart, and keep a human who can overrule it.",
)


def _about_size(metrics: Record, data: Record) -> list[str]:
    n, parts = number(metrics.get("n")), _record(data, "split", "parts")
    test, train = _record(parts, "test"), _record(parts, "train")
    rate, seen = number(test.get("positive_rate")), number(train.get("positive_rate"))
    found = []
    if n is not None and n < 1000:
        found.append(f"Only {count(n)} test examples: the intervals are wide, and a small lead means little.")
    n_true = (n or 0) * (rate or 0)
    if rate is not None and n is not None and n_true < 100:
        found.append(f"About {count(n_true)} true examples in the test part: one or two of them move every curve.")
    if rate is not None and seen and not 0.8 <= rate / seen <= 1.25:
        found.append(
            f"The target is true in {percent(seen)} of training examples but {percent(rate)} of test examples."
        )
    found += _about_numbers(Estimate.read(_record(metrics, "metrics").get("r2")))
    score = Estimate.read(_record(metrics, "metrics").get("auc"))
    if score and (score.high if score.high is not None else score.value) < 0.5:
        found.append(f"AUC {decimal(score.value)} is below guessing: suspect swapped labels or a fit that failed.")
    if score and score.value > 0.985:
        found.append(
            f"AUC {decimal(score.value)} is nearly perfect. Behaviour is seldom so plain: suspect a leak first."
        )
    return found


def _about_numbers(r2: Estimate | None) -> list[str]:
    if r2 and r2.value < 0:
        return [
            f"R² {decimal(r2.value)} is below 0: in squared error the mean of the test targets does better. A median "
            "may stand so where the tail is long; a mean should not."
        ]
    if r2 and r2.value > 0.985:
        return [f"R² {decimal(r2.value)} is nearly perfect. Behaviour is seldom so plain: suspect a leak first."]
    return []


def _about_data(data: Record) -> list[str]:
    found = []
    if _record(data, "split").get("by") == "entity":
        found.append("The split is by entity, not by time: it does not show how the model does as behaviour changes.")
    lengths = _record(data, "lengths")
    cut, of = number(lengths.get("n_examples_cut")), number(data.get("examples"))
    if cut and of and cut / of > 0.1:
        found.append(f"{percent(cut / of)} of examples lost their oldest events to max_length; try a larger one.")
    rejects, events = number(_record(data, "rejects").get("n")), number(data.get("events"))
    if rejects and events and rejects / (events + rejects) > 0.01:
        found.append(f"{percent(rejects / (events + rejects))} of rows were refused: see whether they share a cause.")
    warnings = [leak for leak in data.get("leaks") or [] if _record(leak).get("severity") == "warning"]
    if warnings:
        found.append("The leak check warned: settle its findings before believing any number on this page.")
    return found


def _about_training(history: Sequence[Record]) -> list[str]:
    if len(history) >= 2 and best_epoch(history) == len(history) - 1:
        return ["The last epoch was the best, so the model was still learning when it stopped: try more epochs."]
    return []


def _record(of: object, *path: str) -> Record:
    for name in path:
        of = of.get(name) if isinstance(of, Mapping) else None
    return of if isinstance(of, Mapping) else {}
