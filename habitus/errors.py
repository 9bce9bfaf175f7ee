"""Errors that a caller may want to catch.

    HabitusError                 everything below; `str(error)` is a sentence for a person
    ├── DataError (ValueError)   a log, an example table or a value cannot be used as it is
    ├── ConfigError (ValueError) an option or a config file is wrong
    ├── BundleError              a saved model is damaged, hostile or from a future version
    ├── TrainingError            a run cannot go on (loss not finite) or cannot be resumed
    └── MissingExtraError (ImportError)   an optional package is not installed

Every message says what was given, what would be right and what to do.
This module imports nothing of the rest of the package.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class HabitusError(Exception):
    """Base of all errors raised on purpose by Habitus."""


class DataError(HabitusError, ValueError):
    """A log, an example table or a value cannot be used as it is."""


class ConfigError(HabitusError, ValueError):
    """An option or a config file is wrong."""


class BundleError(HabitusError):
    """A saved model is damaged, hostile or written by a future version."""


class TrainingError(HabitusError, RuntimeError):
    """A training run cannot go on, or cannot be resumed."""


class MissingExtraError(HabitusError, ImportError):
    """An optional package is not installed."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return the tail of a sentence that names the valid choices and the nearest one.

    >>> did_you_mean("hiden_size", ["hidden_size", "n_layers"])
    "did you mean 'hidden_size'? Valid names: hidden_size, n_layers."
    """
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    listed = f"Valid names: {', '.join(choices)}." if choices else "There are no valid names."
    return f"did you mean '{near[0]}'? {listed}" if near else listed


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or raise an error that names the extra to install.

    Args:
        module: dotted module name, e.g. `"lightgbm"`.
        extra: the pip extra that brings it, e.g. `"baselines"`.

    Raises:
        MissingExtraError: if the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise MissingExtraError(
            f"This needs the package '{module.partition('.')[0]}', which could not be imported ({error}). "
            f"Install it with: pip install 'habitus[{extra}]'"
        ) from error
