"""The words of a next-event report: what each target asks, the protocol, and what to be careful about.

Plain values in, sentences out; the template escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from habitus.evaluate import _words as words
from habitus.evaluate._numbers import count, decimal, number, percent
from habitus.evaluate._words import Record

_TARGETS = {
    "last": "Last: the last event of each user in the test part, one question a user.",
    "successive": "Successive: every event of the test part in turn, each after all events before it.",
}


def target_words(name: str) -> str:
    """Say what a target asks.

    >>> target_words("last, time told")
    'Last: the last event of each user in the test part, one question a user. The time of the event is told.'
    """
    kind, told, _ = name.partition(", time told")
    return _TARGETS.get(kind, name) + (" The time of the event is told." if told else "")


def protocol_rows(metrics: Record) -> list[tuple[str, str]]:
    """Return what a reader must know before comparing the figures with others: (name, value)."""
    protocol = _record(metrics, "protocol")
    errors = _record(metrics, "standard_errors")
    shown = ", ".join(f"{words.metric_name(name)} {_small(value)}" for name, value in errors.items())
    rows = [
        ("split", protocol.get("split")),
        ("ties", protocol.get("tie_rule")),
        ("query time", _given(protocol.get("query_time_given"))),
        ("seen items", _seen(protocol.get("filter_seen"))),
        ("ranked", f"the whole catalogue, {count(protocol.get('catalogue'))} items; no sampled negatives"),
        ("learned by", str(protocol.get("loss", "")).removeprefix("Loss: ")),
        ("an answer reads", f"the latest {count(protocol.get('max_length'))} events"),
        ("n", f"{count(metrics.get('n'))} questions of {count(metrics.get('n_users'))} users"),
        ("standard error", shown or None),
    ]
    return [(name, str(value)) for name, value in rows if value is not None]


def next_cautions(
    metrics: Record, data: Record, history: Sequence[Record], standing: str, n_intervals: int
) -> list[str]:
    """List what a reader of this run should be careful about: what is particular first, what always holds last."""
    n, found = number(metrics.get("n_users")), []
    if standing in ("tie", "worse"):
        found.append("The best counting rival does as well as the model, or better: take whichever is simpler to run.")
    if n is not None and n < 1000:
        found.append(f"Only {count(n)} test users: the intervals are wide, and a small lead means little.")
    if metrics.get("split") == "leave-one-out":
        found.append(
            "Leave-one-out lets the model train on events that are later than another user's test event. It is kept "
            "for comparison with published tables; judge by --split temporal before relying on the figures."
        )
    found += [*_about_items(metrics, data), *_about_training(history)]
    if n_intervals > 5:
        found.append(
            f"The tables hold {n_intervals} paired intervals. About one in twenty leaves out zero by chance alone: "
            "read the main metric first."
        )
    return [*found, *_ALWAYS]


_ALWAYS = (
    "Figures under another split, tie rule, filter or with the query time given are not comparable with these.",
    "The intervals cover the luck of drawing these users. They do not cover another seed or another period.",
    "What was never shown was never chosen: the log knows choices among what people saw, and so does the model.",
)


def _about_items(metrics: Record, data: Record) -> list[str]:
    parts = _record(_record(data, "split"), "parts")
    asked, unknown = (
        sum(number(_record(parts, name).get(key)) or 0 for name in parts if str(name).startswith("test"))
        for key in ("targets", "unknown_items")
    )
    found = []
    if asked and unknown:
        found.append(
            f"{count(unknown)} of {count(asked)} test questions ask for an item that training never saw. Nobody can "
            "answer them, and they count as misses."
        )
    repeats = number(data.get("repeat_share"))
    if repeats is not None and repeats > 0.3 and _record(metrics, "protocol").get("filter_seen"):
        found.append(
            f"{percent(repeats)} of training events repeat an earlier item, but seen items are left out of rankings: "
            "is that what the recommendations are for?"
        )
    return found


def _about_training(history: Sequence[Record]) -> list[str]:
    if len(history) >= 2 and words.best_epoch(history) == len(history) - 1:
        return ["The last epoch was the best, so the model was still learning when it stopped: try more epochs."]
    return []


def _given(value: object) -> str | None:
    if value is None:
        return None
    return "given: the model knows when the next event happens" if value else "not given"


def _seen(value: object) -> str | None:
    if value is None:
        return None
    kept = "filter_seen = true: items of the user's past are taken out of rankings, except the true one"
    return kept if value else "filter_seen = false: items of the user's past may be recommended again"


def _small(value: object) -> str:
    found = number(value)
    return decimal(None) if found is None else f"{found:.4f}"


def _record(of: object, name: str) -> Record:
    found = of.get(name) if isinstance(of, Mapping) else None
    return found if isinstance(found, Mapping) else {}
