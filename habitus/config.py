"""Config files are data: TOML or JSON whose sections build the frozen dataclasses next to the code.

An unknown key stops the run and names the nearest known one. Knows nothing about the dataclasses themselves:
they are passed in.
"""

from __future__ import annotations

import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from habitus.errors import ConfigError, did_you_mean

T = TypeVar("T")


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a TOML or JSON file into a dictionary.

    Raises:
        ConfigError: if the file is absent or cannot be parsed; the message names file and line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        return dict(json.loads(text)) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"The config file '{path}' cannot be read ({error.strerror}); give an existing file."
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"The config file '{path}' is not valid TOML or JSON: {error}.") from error


def check_keys(given: Mapping[str, Any], valid: Iterable[str], where: str) -> None:
    """Refuse keys that are not known, with the nearest known one."""
    valid = list(valid)
    for key in given:
        if key not in valid:
            raise ConfigError(f"Unknown option '{key}' in {where}; {did_you_mean(key, valid)}")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Refuse a value that is none of the choices, with the nearest one.

    >>> check_choice("by", "entity", ["entity", "time"])
    """
    choices = list(choices)
    if value not in choices:
        raise ConfigError(f"{name}={value!r} is not known; {did_you_mean(str(value), choices)}")


def check_taken_rate(value: float) -> None:
    """Refuse a share of the learning rate, of what a pretrained bundle gave, that is none.

    >>> check_taken_rate(0.3)
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"taken_rate={value} is a share of the learning rate: 0 to 1.")


def build(cls: type[T], options: Mapping[str, Any], where: str) -> T:
    """Build a config dataclass from plain options, refusing unknown keys and values of the wrong type.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Loop:
    ...     seed: int = 0
    >>> build(Loop, {"seed": 3}, "[training]")
    Loop(seed=3)
    """
    check_keys(options, [f.name for f in fields(cls)], where)  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for name, value in options.items():
        if not _fits(value, hints[name]):
            raise ConfigError(f"{where}: {name}={value!r} is of the wrong type; it takes {_printed(hints[name])}.")
    return cls(**{name: _tupled(value, hints[name]) for name, value in options.items()})


def _fits(value: Any, hint: Any) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in args
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is tuple:
        return isinstance(value, list | tuple)
    plain = origin or hint
    return not isinstance(plain, type) or isinstance(value, plain)


def _tupled(value: Any, hint: Any) -> Any:
    """Return a list as a tuple where the hint is one, or may be one."""
    kinds = {typing.get_origin(hint), *(typing.get_origin(one) for one in typing.get_args(hint))}
    return tuple(value) if isinstance(value, list) and tuple in kinds else value


def _printed(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(arg) for arg in typing.get_args(hint))
    return getattr(hint, "__name__", str(hint)) if typing.get_origin(hint) is None else str(hint)
