"""Settings: a config file with the command line on top of it, and the objects that they describe.

    flags > --set > config file > the dataclasses' own defaults

Sections of the file: [task], [backbone], [data] with [data.fields], [split], [training], [options]; top-level `seed`.
See docs/config.md. Only `build_plan` needs torch.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from habitus.cli.options import ALL
from habitus.config import build, check_keys, read_config
from habitus.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from habitus.data.options import Data
    from habitus.data.split import Split
    from habitus.model import Options
    from habitus.tasks import Backbone, Classify
    from habitus.training import Training

Settings = dict[str, Any]

SECTIONS = ("task", "backbone", "data", "split", "training", "options")
TASK_KEYS = ("name", "target", "class_weight", "positive")


@dataclass(frozen=True)
class Plan:
    """Everything that a model is made of."""

    task: Classify
    backbones: Mapping[str, Backbone]
    data: Data
    split: Split
    training: Training
    options: Options
    seed: int


def read_settings(config: Path | None, given: Mapping[str, Any]) -> Settings:
    """Return the sections of the config file with the command line's options on top.

    Args:
        config: TOML or JSON file; None starts empty.
        given: options by their names in Python; None or empty means not given.

    Raises:
        ConfigError: for a key that is not known, or a value that cannot be read.

    >>> read_settings(None, {"epochs": 3, "split": None, "field": ["amount=number"]})["training"]
    {'epochs': 3}
    """
    document = read_config(config) if config else {}
    settings = _checked(document, f"the config file '{config}'")
    for text in given.get("set") or ():
        _put(settings, *_setting(text))
    for name, value in given.items():
        flag = ALL.get(name)
        if flag is None or not flag.key or value is None or value == []:
            continue
        _put(settings, flag.key, _value(name, value))
    return settings


def build_data(settings: Settings) -> Data:
    """Return how the log is read."""
    from habitus.data.options import Data

    return build(Data, settings["data"], "[data]")


def build_split(settings: Settings) -> Split:
    """Return which examples train, validate and test; the run's seed is the split's unless it has its own."""
    from habitus.data.split import Split

    return build(Split, {"seed": _seed(settings), **settings["split"]}, "[split]")


def build_plan(settings: Settings, backbones: Sequence[str] = ()) -> Plan:
    """Return the objects that settings describe.

    Args:
        settings: from `read_settings`.
        backbones: names to compare; the [backbone] section tunes the one that it names. Empty: that one alone.
    """
    data, split = build_data(settings), build_split(settings)
    target = target_of(settings)
    if target is None:
        raise ConfigError(
            "No target is given; name the column of the examples to predict with --target, or as target in [task]."
        )
    # Before torch is loaded, which takes seconds, everything that can be refused without it has been.
    from habitus.model import Options
    from habitus.tasks import Classify
    from habitus.training import Training

    task = {name: value for name, value in settings["task"].items() if name not in ("name", "target")}
    return Plan(
        task=Classify(target, **task),
        backbones=_backbones(settings["backbone"], backbones),
        data=data,
        split=split,
        training=build(Training, settings["training"], "[training]"),
        options=build(Options, settings["options"], "[options]"),
        seed=_seed(settings),
    )


def target_of(settings: Settings) -> str | list[str] | None:
    """Return the target: one name, or several for a multi-label one; None where there is none."""
    target = settings["task"].get("target")
    if isinstance(target, list | tuple) and len(target) == 1:
        target = target[0]
    if not target:
        return None
    if isinstance(target, str) or (isinstance(target, list) and all(isinstance(name, str) for name in target)):
        return target
    raise ConfigError(f"[task]: target={target!r} is of the wrong type; it takes a column name or a list of them.")


def _backbones(section: Mapping[str, Any], names: Sequence[str]) -> dict[str, Backbone]:
    from habitus.model import backbone_from

    if not names:
        chosen = str(section.get("name", "transformer"))
        return {chosen: backbone_from(section)}
    if len(set(names)) < len(names):
        raise ConfigError(f"--backbones names one twice ({','.join(names)}); name each once.")
    tuned = section.get("name")
    if tuned is None and section:
        raise ConfigError("[backbone] tunes a backbone but does not name it; add name = 'transformer' or 'gru'.")
    return {name: backbone_from(section if name == tuned else {"name": name}) for name in names}


def _checked(document: Mapping[str, Any], where: str) -> Settings:
    """Return the sections of a config file, all of them tables."""
    check_keys(document, [*SECTIONS, "seed"], where)
    settings: Settings = {name: document.get(name, {}) for name in SECTIONS}
    for name, section in settings.items():
        if not isinstance(section, Mapping):
            raise ConfigError(f"'{name}' in {where} must be a section: write [{name}] and its keys below it.")
        settings[name] = dict(section)
    _check_task(settings["task"])
    fields = settings["data"].get("fields", {})
    if isinstance(fields, Mapping):
        settings["data"] |= {"fields": dict(fields)} if fields else {}
    return settings | {"seed": document.get("seed", 0)}


def _check_task(section: Mapping[str, Any]) -> None:
    check_keys(section, TASK_KEYS, "[task]")
    if section.get("name", "classify") != "classify":
        raise ConfigError(
            f"[task]: there is no task '{section['name']}'; {did_you_mean(str(section['name']), ['classify'])}"
        )


def _seed(settings: Settings) -> int:
    seed = settings["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ConfigError(f"seed={seed!r} is no seed; give a whole number from 0.")
    return seed


def _put(settings: Settings, key: str, value: Any) -> None:
    """Set "section.key", or merge the fields, which are a table of their own."""
    section, _, name = key.rpartition(".")
    if not section:
        settings[name] = value
    elif section == "data" and name == "fields" and isinstance(value, Mapping):
        settings["data"]["fields"] = {**settings["data"].get("fields", {}), **value}
    elif section == "data.fields":
        settings["data"]["fields"] = {**settings["data"].get("fields", {}), name: value}
    else:
        settings[section][name] = value
    _check_task(settings["task"])


def _value(name: str, value: Any) -> Any:
    if name == "field":
        return dict(_field(text) for text in value)
    if name == "target":
        return value[0] if len(value) == 1 else list(value)
    return list(value) if isinstance(value, list | tuple) else value


def _field(text: str) -> tuple[str, str]:
    name, mark, kind = text.rpartition("=")
    if not mark or not name:
        raise ConfigError(f"--field {text!r} is not NAME=KIND; write for example --field amount=number.")
    return name, kind


def _setting(text: str) -> tuple[str, Any]:
    """Read SECTION.KEY=VALUE; the value is TOML (3, 0.5, true, "text"), and bare words are text."""
    key, mark, written = text.partition("=")
    section = key.strip().partition(".")[0]
    if not mark or (section not in SECTIONS and key.strip() != "seed") or key.strip() in SECTIONS:
        raise ConfigError(
            f"--set {text!r} is not SECTION.KEY=VALUE; write for example --set backbone.n_layers=1, with a section of "
            f"{', '.join(SECTIONS)}."
        )
    try:
        value = tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        value = written.strip()
    return key.strip(), value
