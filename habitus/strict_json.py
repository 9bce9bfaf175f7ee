"""JSON that comes back as it went out, or is refused.

The `json` module alone accepts NaN, 1e400, a key twice, lone surrogates, and nesting that overflows the stack.
One rule, `check_plain`, holds on the way out and on the way in. Imports nothing of the rest of the package.
"""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 64  # far below Python's recursion limit, so that what one caller writes another, deeper one, can read
_HARMLESS = {int, bool, type(None)}


def dump(document: Any, *, indent: int | None = None) -> bytes:
    """Return a document as UTF-8 JSON with sorted keys: the same content gives the same bytes.

    Raises:
        ValueError: if something in it is not plain data.

    >>> dump({"b": [1, None], "a": "é"}).decode()
    '{"a":"é","b":[1,null]}\\n'
    """
    check_plain(document)
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(
        document, allow_nan=False, sort_keys=True, ensure_ascii=False, indent=indent, separators=separators
    )
    return text.encode("utf-8") + b"\n"


def parse(data: bytes) -> Any:
    """Read UTF-8 JSON.

    Raises:
        ValueError: if it is not JSON, or says something that JSON does not hold.

    >>> parse(b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: a key stands twice in one object
    """
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from error
    check_plain(document)
    return document


def check_plain(value: Any, depth: int = 0) -> None:
    """Raise ValueError unless a value is finite, not too deep, with string keys and valid Unicode.

    Tuples pass, and come back as lists.

    >>> check_plain({"rate": float("nan")})
    Traceback (most recent call last):
    ValueError: nan is not a finite number; use null
    """
    if not isinstance(value, dict | list | tuple):
        _check_leaf(value)
        return
    if depth >= MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        _check_keys(value)
        value = value.values()
    kinds = set(map(type, value))
    if kinds == {str} and is_text("".join(value)):  # a whole vocabulary at once
        return
    if not kinds <= _HARMLESS:
        for item in value:
            check_plain(item, depth + 1)


def is_text(value: str) -> bool:
    r"""Tell whether a string is valid Unicode, that is, holds no lone surrogate.

    >>> is_text("é"), is_text("\ud800")
    (True, False)
    """
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_keys(document: dict[Any, Any]) -> None:
    for key in document:
        if not isinstance(key, str):
            raise ValueError(f"the key {repr(key)[:60]} is not a string")
        _check_leaf(key)


def _check_leaf(value: Any) -> None:
    if isinstance(value, str):
        if not is_text(value):
            raise ValueError(f"{ascii(value)[:60]} is not valid Unicode text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number; use null")
    elif not (value is None or isinstance(value, int)):
        raise ValueError(f"a {type(value).__name__} is not plain data; convert it to a number, string, list or object")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
