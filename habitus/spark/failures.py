"""Failures inside Spark as the sentences that they are: what a worker raised is found in what Spark says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException

from habitus import errors
from habitus.errors import DataError, HabitusError

_OURS = re.compile(r"habitus\.errors\.(\w+Error): (.+)")


@contextmanager
def in_a_sentence(doing: str) -> Iterator[None]:
    """Turn an error of Spark into the sentence that a worker raised, or one that says what Spark said.

    Args:
        doing: what was being done, such as "Scoring".
    """
    try:
        yield
    except HabitusError:
        raise
    except Exception as error:  # py4j raises classes of its own beside PySparkException
        if not isinstance(error, PySparkException) and not type(error).__module__.startswith("py4j"):
            raise
        raise sentence_of(error, doing) from error


def sentence_of(error: BaseException, doing: str) -> HabitusError:
    r"""Return the error that a worker raised on purpose, else one with the first line of what Spark says.

    >>> sentence_of(RuntimeError("Traceback ...\nhabitus.errors.DataError: Row 7 is broken.\n\n at org..."), "Scoring")
    DataError('Row 7 is broken.')
    """
    found = _OURS.findall(str(error))
    if found:
        name, sentence = found[-1]
        return getattr(errors, name, HabitusError)(sentence)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    said = (last[-1] if last else lines[0] if lines else type(error).__name__)[:400]
    return DataError(f"{doing} failed in Spark: {said}. Spark's own log has the rest.")
