"""Habitus on Apache Spark: needs `pip install 'habitus[spark]'` (PySpark 4) and Java 17 or later.

Only this folder imports pyspark. Spark shuffles, sorts and writes; the rules of reading, cutting, encoding and scoring
are those of one machine, applied to one Arrow batch after another. Names are loaded when they are first used, so that a
Python worker loads only what it runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from habitus.errors import did_you_mean, require

require("pyspark", "spark")

if TYPE_CHECKING:
    from habitus.spark.estimator import SequenceModelEstimator
    from habitus.spark.folder import write_rows
    from habitus.spark.predict import predict_to_folder
    from habitus.spark.prepare import sequence_rows
    from habitus.spark.scoring import score_rows, split_rejected
    from habitus.spark.session import spark_session
    from habitus.spark.transformer import SequenceModelTransformer

__all__ = [
    "SequenceModelEstimator",
    "SequenceModelTransformer",
    "predict_to_folder",
    "score_rows",
    "sequence_rows",
    "spark_session",
    "split_rejected",
    "write_rows",
]

_HOMES = {
    "SequenceModelEstimator": "habitus.spark.estimator",
    "SequenceModelTransformer": "habitus.spark.transformer",
    "predict_to_folder": "habitus.spark.predict",
    "score_rows": "habitus.spark.scoring",
    "sequence_rows": "habitus.spark.prepare",
    "spark_session": "habitus.spark.session",
    "split_rejected": "habitus.spark.scoring",
    "write_rows": "habitus.spark.folder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'habitus.spark' has no attribute '{name}'; {did_you_mean(name, __all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
