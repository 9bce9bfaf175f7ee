"""Settings: a config file with the command line on top of it, and the objects that they describe.

    flags > --set > config file > preset > the dataclasses' own defaults

Sections of the file: [task], [backbone], [data] with [data.fields], [split], [training], [options]; top-level `seed`.
What stands in [task], [split] and [options] depends on the task. See docs/config.md. Only `build_plan` and presets
need torch.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from habitus.cli.options import ALL, Flag
from habitus.cli.specs import SPECS, TaskSpec
from habitus.config import build, check_keys, read_config
from habitus.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from habitus.model import SequenceModel

Settings = dict[str, Any]

SECTIONS = ("task", "backbone", "data", "split", "training", "options")
CLASSIFY, REGRESS, NEXT_EVENT = "classify", "regress", "next-event"
TASK_NAMES = tuple(SPECS)
TASK_KEYS = {  # of labelled examples; those of other tasks are their options
    CLASSIFY: ("name", "target", "class_weight", "positive"),
    REGRESS: ("name", "target", "loss", "log", "quantiles", "huber_delta"),
}


@dataclass(frozen=True)
class Plan:
    """Everything that a model is made of; the types of the parts are those of the task."""

    model: type[SequenceModel]
    task: Any
    backbones: Mapping[str, Any]
    data: Any
    split: Any
    training: Any
    options: Any
    seed: int

    @property
    def parts(self) -> dict[str, Any]:
        """Everything but the model, its task and its backbone, by the names of a model's arguments."""
        names = ("data", "split", "training", "options", "seed")
        return {name: getattr(self, name) for name in names}


def read_settings(
    config: Path | None, given: Mapping[str, Any], task: str | None = None, flags: Mapping[str, Flag] = ALL
) -> Settings:
    """Return the sections of the config file with the command line's options on top.

    Args:
        config: TOML or JSON file; None starts empty.
        given: options by their names in Python; None or empty means not given.
        task: that the command is for; None takes the file's, and classify where it names none.
        flags: of the command line, by their names in Python.

    Raises:
        ConfigError: for a key that is not known, or a value that cannot be read.

    >>> read_settings(None, {"epochs": 3, "split": None, "field": ["amount=number"]})["training"]
    {'epochs': 3}
    """
    document = read_config(config) if config else {}
    settings = _checked(document, f"the config file '{config}'", task)
    for text in given.get("set") or ():
        _put(settings, *_setting(text))
    for name, value in given.items():
        flag = flags.get(name)
        if flag is None or not flag.key or value is None or value == []:
            continue
        _put(settings, flag.key, _value(name, value))
    return settings


def build_data(settings: Settings) -> Any:
    """Return how the log, or what the task reads, is read."""
    return build(_spec(settings).load("data"), settings["data"], "[data]")


def build_split(settings: Settings) -> Any:
    """Return which units train, choose and judge; the run's seed is the split's unless it has its own."""
    return build(_spec(settings).load("split"), {"seed": _seed(settings), **settings["split"]}, "[split]")


def build_plan(settings: Settings, backbones: Sequence[str] = ()) -> Plan:
    """Return the objects that settings describe.

    Args:
        settings: from `read_settings`.
        backbones: names to compare; the [backbone] section tunes the one that it names. Empty: that one alone.
    """
    data, split = build_data(settings), build_split(settings)
    if task_of(settings) in TASK_KEYS and target_of(settings) is None:
        raise ConfigError(
            "No target is given; name the column of the examples to predict with --target, or as target in [task]."
        )
    # Before torch is loaded, which takes seconds, everything that can be refused without it has been.
    model: type[SequenceModel] = _spec(settings).load("model")
    from habitus.training import Training

    task = _task(model.task_kinds[task_of(settings)], settings)
    return Plan(
        model=model,
        task=task,
        backbones=_backbones(model, task, data, settings["backbone"], backbones),
        data=data,
        split=split,
        training=build(Training, settings["training"], "[training]"),
        options=build(model.options_kind, settings["options"], "[options]"),
        seed=_seed(settings),
    )


def with_preset(settings: Settings, name: str | None) -> Settings:
    """Lay settings over those of a preset of next-event models; None has none.

    The preset's backbone is left out where the settings name another one.
    """
    if name is None:
        return settings
    from habitus.model.presets import next_event_preset

    item = str(settings["task"].get("item", "item_id"))
    preset: Mapping[str, Mapping[str, Any]] = next_event_preset(name, item)
    laid = dict(settings)
    for section, below in preset.items():
        own = settings[section]
        if section == "backbone" and own.get("name", below.get("name")) != below.get("name"):
            continue
        laid[section] = {**below, **own}
    return laid


def task_of(settings: Settings) -> str:
    """Return the name of the task."""
    return str(settings["task"].get("name", CLASSIFY))


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


def _spec(settings: Settings) -> TaskSpec:
    return SPECS[task_of(settings)]


def _task(kind: Any, settings: Settings) -> Any:
    """Build the task: a dataclass of options, or a class whose first argument is the target."""
    options = {key: one for key, one in settings["task"].items() if key != "name"}
    if isinstance(kind, type) and is_dataclass(kind):
        missing = [one.name for one in fields(kind) if _is_required(one) and one.name not in options]
        if missing:
            raise ConfigError(f"No {missing[0]} is given; name it with --{missing[0].replace('_', '-')}, or in [task].")
        return build(kind, options, "[task]")
    return kind(**options | {"target": target_of(settings)})


def _is_required(option: Any) -> bool:
    return bool(option.default is MISSING and option.default_factory is MISSING)


def _backbones(
    model: type[SequenceModel], task: Any, data: Any, section: Mapping[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    """Return backbones by name, over what the task wants of them."""
    if "pretrained" in section:
        section = {"name": "pretrained", **section}
    if not names:
        names = [str(section.get("name", "transformer"))]
        section = {**section, "name": names[0]}
    if len(set(names)) < len(names):
        raise ConfigError(f"--backbones names one twice ({','.join(names)}); name each once.")
    tuned = section.get("name")
    if tuned is None and section:
        raise ConfigError(
            "[backbone] tunes a backbone but does not name it; add name = 'transformer', 'gru', 'lstm', 'rnn' or 'cnn'."
        )
    own = {name: section if name == tuned else {"name": name} for name in names}
    return {name: model.backbone_from({**model.backbone_defaults(task, name, data), **own[name]}) for name in names}


def _checked(document: Mapping[str, Any], where: str, task: str | None) -> Settings:
    """Return the sections of a config file, all of them tables."""
    check_keys(document, [*SECTIONS, "seed"], where)
    settings: Settings = {name: document.get(name, {}) for name in SECTIONS}
    for name, section in settings.items():
        if not isinstance(section, Mapping):
            raise ConfigError(f"'{name}' in {where} must be a section: write [{name}] and its keys below it.")
        settings[name] = dict(section)
    _check_task(settings["task"])
    _take_task(settings["task"], task, where)
    meanings = settings["data"].get("fields", {})
    if isinstance(meanings, Mapping):
        settings["data"] |= {"fields": dict(meanings)} if meanings else {}
    return settings | {"seed": document.get("seed", 0)}


def _check_task(section: Mapping[str, Any]) -> None:
    name = section.get("name", CLASSIFY)
    if name not in TASK_NAMES:
        raise ConfigError(f"[task]: there is no task '{name}'; {did_you_mean(str(name), TASK_NAMES)}")
    if name in TASK_KEYS and "name" in section:
        check_keys(section, TASK_KEYS[name], "[task]")


def _take_task(section: dict[str, Any], task: str | None, where: str) -> None:
    """Refuse a file of another task than the command's, and a key that its task does not have."""
    named = section.setdefault("name", task or CLASSIFY)
    if task is not None and named != task:
        raise ConfigError(f"The command is for the task '{task}', but [task] in {where} has name = '{named}'.")
    _check_task(section)


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
    if name == "target" and not isinstance(value, str):
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
