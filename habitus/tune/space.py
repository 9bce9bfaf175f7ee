"""What is searched: a choice of values, or a range, for options of [backbone], [training] and [options].

    [training]
    learning_rate = { low = 3e-4, high = 5e-3, log = true }
    batch_rows = [32, 64, 128]

How the data is read, divided and what is predicted is the same in every trial. Knows nothing about optuna.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from habitus.config import build, read_config
from habitus.errors import ConfigError, did_you_mean

SECTIONS = ("backbone", "training", "options")


@dataclass(frozen=True)
class Range:
    """Numbers from low to high; whole ones where both ends are.

    Args:
        low, high: the ends, both allowed.
        log: search the logarithm, for options whose size is what matters.

    >>> Range(1, 3).is_whole, Range(0.001, 0.1, log=True).is_whole
    (True, False)
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ConfigError(
                f"low={self.low}, high={self.high}, log={self.log} is no range; give low below high, and both above 0 "
                "with log."
            )

    @property
    def is_whole(self) -> bool:
        """Whether whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Space = Mapping[str, "Range | tuple[Any, ...]"]  # "section.key": a range, or choices

_TRAINING: Space = {
    "training.learning_rate": Range(3e-4, 5e-3, log=True),
    "training.weight_decay": Range(1e-3, 0.3, log=True),
    "training.batch_rows": (32, 64, 128),
}
_WIDTHS: Space = {"backbone.hidden_size": (32, 64, 128), "backbone.dropout": Range(0.0, 0.4)}
_BODIES: Mapping[str, Space] = {
    "transformer": {**_WIDTHS, "backbone.n_layers": Range(1, 3)},
    "gru": {**_WIDTHS, "backbone.n_layers": Range(1, 2)},
    "lstm": {**_WIDTHS, "backbone.n_layers": Range(1, 2)},
    "rnn": _WIDTHS,
    "cnn": {**_WIDTHS, "backbone.n_layers": Range(1, 3)},
    "pretrained": {"backbone.rate": Range(0.01, 0.2, log=True), "backbone.rate_decay": Range(0.7, 1.0)},
}
_LABELLED: Space = {"options.value_dropout": Range(0.0, 0.7), "options.wide": (True, False)}
_TASKS: Mapping[str, Space] = {"classify": _LABELLED, "regress": _LABELLED}


def default_space(task: str, backbone: str, *, from_start: bool = False) -> dict[str, Range | tuple[Any, ...]]:
    """Return what is searched where the user says nothing.

    Args:
        task, backbone: their names.
        from_start: a pretrained bundle gives the backbone, whose sizes are then fixed.

    >>> sorted(default_space("next-event", "rnn"))[:2]
    ['backbone.dropout', 'backbone.hidden_size']
    """
    space = {**_TRAINING, **_BODIES.get(backbone, {}), **_TASKS.get(task, {})}
    if from_start:
        space = {key: one for key, one in space.items() if key not in ("backbone.hidden_size", "backbone.n_layers")}
        space["options.taken_rate"] = Range(0.03, 1.0, log=True)
    return space


def read_space(path: str | Path) -> dict[str, Range | tuple[Any, ...]]:
    """Read a search space from a TOML or JSON file.

    Raises:
        ConfigError: for a section that is not searched, or a value that is neither a list nor a range.
    """
    document = read_config(Path(path))
    space: dict[str, Range | tuple[Any, ...]] = {}
    for section, options in document.items():
        if section not in SECTIONS or not isinstance(options, Mapping):
            raise ConfigError(
                f"The search space '{path}' has '{section}'; sections are [{'], ['.join(SECTIONS)}]: data, split and "
                f"task are the same in every trial. {did_you_mean(section, SECTIONS)}"
            )
        for key, given in options.items():
            space[f"{section}.{key}"] = _read(f"{section}.{key}", given)
    if not space:
        raise ConfigError(f"The search space '{path}' is empty; give options with lists or ranges of values.")
    return space


def _read(key: str, given: Any) -> Range | tuple[Any, ...]:
    if isinstance(given, list) and given:
        return tuple(given)
    if isinstance(given, Mapping):
        return build(Range, given, f"[{key}]")
    raise ConfigError(
        f"The search space has {key} = {given!r}; give choices such as [32, 64], or a range such as "
        "{ low = 0.001, high = 0.01, log = true }."
    )
