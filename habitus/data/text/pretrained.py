"""Where a pretrained encoder lies on disk, and its tokenizer.

A name is, in this order: a folder; a folder of that last name in $HABITUS_PRETRAINED, for a bundle that has moved to
another machine; an installed Python package that ships an encoder (its folder, or `model/` below
it; nothing of it is run); a repository of the Hugging Face hub, from the local cache or, where there is a network,
downloaded. Weights are read from safetensors only: other formats can run code. Knows nothing about torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from habitus.errors import ConfigError, DataError, require

_WANTED = (
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "spiece.model",
    "*.safetensors",
    "*.safetensors.index.json",
)
_ANSWER_S = 10.0  # of the hub


def locate(name: str) -> Path:
    """Return the folder of a pretrained encoder.

    Raises:
        ConfigError: if nothing of that name can be found.

    >>> locate("no/such-encoder-anywhere")
    Traceback (most recent call last):
    ...
    habitus.errors.ConfigError: There is no pretrained encoder 'no/such-encoder-anywhere': ...
    """
    moved = os.environ.get("HABITUS_PRETRAINED")
    for folder in (Path(name), *([Path(moved) / Path(name).name] if moved else []), *_packaged(name)):
        if (folder / "config.json").is_file():
            return folder
    if Path(name).is_dir():
        raise ConfigError(f"The folder '{name}' holds no config.json; give one that save_pretrained(...) wrote.")
    return _from_hub(name)


def sha256(folder: Path) -> str:
    """Return the hash of the weights in a folder, over its safetensors files in the order of their names.

    Raises:
        ConfigError: if there are none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(
            f"'{folder}' holds no weights in safetensors; load it where it comes from and save it again with "
            "save_pretrained(...). Other formats can run code and are not read."
        )
    return _hashed(tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files))


def described(name: str) -> dict[str, Any]:
    """Return what stands under the name of a pretrained encoder, by which a bundle knows it again."""
    folder = locate(name)
    return {"config": json.loads((folder / "config.json").read_text("utf-8")), "sha256": sha256(folder)}


def tokenizer_document(name: str) -> dict[str, Any]:
    """Return the tokenizer of a pretrained encoder as the library `tokenizers` writes it.

    Its own padding and truncation are left out: batches are padded and texts are cut here.

    Raises:
        ConfigError: if there is none.
    """
    folder, library = locate(name), require("tokenizers", "text")
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = library.Tokenizer.from_file(str(folder / "tokenizer.json"))
        elif (folder / "vocab.txt").is_file():
            lower = json.loads(_text(folder / "tokenizer_config.json")).get("do_lower_case", True)
            tokenizer = library.BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lower)._tokenizer
        else:
            raise ConfigError(
                f"'{folder}' holds no tokenizer.json; write one with AutoTokenizer.from_pretrained(...)"
                ".save_pretrained(...)."
            )
    except ConfigError:
        raise
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"The tokenizer of '{name}' cannot be read ({error}); save it again.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    return document


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else "{}"


def _packaged(name: str) -> list[Path]:
    if not name.isidentifier():
        return []
    found = importlib.util.find_spec(name)  # of a top-level name: imports nothing
    places = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    return [folder for place in places for folder in (place, place / "model")]


def _from_hub(name: str) -> Path:
    hub = require("huggingface_hub", "text")
    problem: Exception | None = None
    for local in (True, False):
        try:
            found = hub.snapshot_download(
                name, allow_patterns=list(_WANTED), local_files_only=local, etag_timeout=_ANSWER_S
            )
        except Exception as error:  # of the network, the hub, or the name
            problem = error
            continue
        if (Path(found) / "config.json").is_file():
            return Path(found)
    reason = str(problem).strip().splitlines()[0][:200] if problem else "it holds no config.json"
    raise ConfigError(
        f"There is no pretrained encoder '{name}': it is no folder, no installed package with an encoder, and the "
        f"Hugging Face hub does not give it ({reason}). Give a folder that save_pretrained(...) wrote."
    )


@lru_cache(maxsize=8)
def _hashed(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        with open(path, "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
