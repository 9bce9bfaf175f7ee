"""Parameters: plain dictionaries of arrays with dotted names, such as `attention.query.weight`.

One flat dictionary holds a whole network, so that Adam goes over it in one loop and a torch `state_dict` can be
compared with it name by name. `part` takes the share of one piece out, `named` gives a piece's gradients their full
names. Weights are (out, in), as torch has them; the papers write x W with (in, out).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.integer[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]
Params: TypeAlias = dict[str, FloatArray]
Cache: TypeAlias = tuple[Any, ...]  # what a forward keeps for its backward


def part(params: Params, name: str) -> Params:
    """Return the parameters of one piece, without its name.

    >>> part({"up.weight": np.zeros(1), "down.weight": np.ones(1)}, "down")
    {'weight': array([1.])}
    """
    start = f"{name}."
    return {key.removeprefix(start): value for key, value in params.items() if key.startswith(start)}


def named(name: str, params: Params) -> Params:
    """Return the parameters (or gradients) of a piece under its name: the reverse of `part`.

    >>> named("down", {"weight": np.ones(1)})
    {'down.weight': array([1.])}
    """
    return {f"{name}.{key}": value for key, value in params.items()}
