"""Presets of next-event models: one word for a purpose, as the sections of a config file.

    fast    a good recommender in a few minutes on two cores
    best    the same network trained half as long again
    timed   for "what now?": as best, and the query time is always told

Chosen on the validation part of MovieLens-1M (3,416 items, a million events); a catalogue or a log of another size may
want another width and other epochs.
Every option may be overruled one by one.
"""

from __future__ import annotations

from typing import Any

from habitus.config import check_choice

PRESETS = ("fast", "best", "timed")


def next_event_preset(name: str, item: str) -> dict[str, dict[str, Any]]:
    """Return the sections "task", "backbone", "data" and "training" of a preset.

    >>> next_event_preset("timed", "item_id")["task"]["query_time"]
    1.0
    """
    check_choice("preset", name, PRESETS)
    task: dict[str, Any] = {"name": "next-event", "item": item, "when": False, "calendar": False}
    backbone: dict[str, Any] = {
        "name": "transformer",
        "hidden_size": 64,
        "n_layers": 2,
        "n_heads": 2,
        "dropout": 0.2,
        "position": "learned",
        "time_aware": False,
        "pooling": "last",
    }
    training: dict[str, Any] = {
        "batch_tokens": 3200,
        "batch_rows": 512,
        "learning_rate": 5e-3,
        "weight_decay": 0.0,
        "epochs": 10,
        "patience": 5,
    }
    longer = {"epochs": 14, "patience": 5}
    more: dict[str, dict[str, Any]] = {
        "fast": {},
        "best": {"training": longer},
        "timed": {"training": longer, "task": {"query_time": 1.0}},
    }
    sections = {"task": task, "backbone": backbone, "data": {"max_length": 200}, "training": training}
    return {section: {**options, **more[name].get(section, {})} for section, options in sections.items()}
