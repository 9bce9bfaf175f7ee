"""The process that forks Python workers, with torch loaded once before it forks them.

A new worker then starts in a fraction of the time and shares torch's pages with the others of its node. torch starts
no thread when it is imported, so the fork is safe; Polars and PyArrow do and are left to the workers. Sessions that
Habitus starts use it; elsewhere: `--conf spark.python.daemon.module=habitus.spark.daemon`.
"""

import contextlib
import sys

with contextlib.suppress(ImportError):
    import torch  # noqa: F401 - what matters is that it is loaded

from pyspark.daemon import manager

if __name__ == "__main__":
    if "pyarrow" in sys.modules or "polars" in sys.modules:  # a fork would copy their locks but not their threads
        raise SystemExit("habitus.spark.daemon loaded a library with threads; it must not.")
    manager()
