"""How the rivals that a model carries stand in its bundle: tensors below `baseline/<number>/`, documents in a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from habitus.bundle import Bundle
from habitus.model.base import tensors_below


def pack_rivals(rivals: Sequence[Any]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Return the tensors of fitted rivals, and a document for each."""
    tensors: dict[str, np.ndarray] = {}
    documents = []
    for number, rival in enumerate(rivals):
        arrays, document = rival.to_state()
        tensors |= {f"baseline/{number}/{name}": value for name, value in arrays.items()}
        documents.append({"name": rival.name, "document": document})
    return tensors, documents


def unpack_rivals(bundle: Bundle, kinds: Mapping[str, Any]) -> list[Any]:
    """Return the rivals of a bundle, each of the kind that its name says."""
    return [
        kinds[item["name"]].from_state(tensors_below(f"baseline/{number}/", bundle.tensors), item["document"])
        for number, item in enumerate(bundle.documents["baselines"])
    ]
