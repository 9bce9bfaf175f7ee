"""A Spark session with the settings that Habitus needs.

Times are UTC and reach Parquet in microseconds, rows travel as Arrow, `local[n]` becomes `local[n,4]` (a plain
`local[n]` never runs a lost task again), and a local Spark listens on 127.0.0.1 alone. Under spark-submit, in a
notebook or where a session runs already, that session is taken; only what can be set in a running one is set.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from habitus.errors import ConfigError, HabitusError

JAVA = 17  # the oldest that Spark 4 runs on
TASK_FAILURES = 4  # as on a cluster
_RUNNING = {  # may be set at any time
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
_LOCAL = {
    "spark.python.daemon.module": "habitus.spark.daemon",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
}


def spark_session(
    master: str | None = None,
    *,
    name: str = "habitus",
    quiet: bool = True,
    memory: str | None = None,
    config: Mapping[str, str] | None = None,
) -> SparkSession:
    """Return the running session, or start one.

    Args:
        master: "local[2]", "spark://host:7077", "yarn", "k8s://...", or "sc://host" for Spark Connect; None takes what
            spark-submit or the environment says, else all cores of this machine.
        name: of the application.
        quiet: show no progress bar and no warnings of Spark's own.
        memory: of the driver, such as "2g"; counts only where this starts the JVM.
        config: further settings of Spark, which win.

    Raises:
        HabitusError: if Java is missing or too old, or the master does not answer.
        ConfigError: if a session with another master runs already.
    """
    running = SparkSession.getActiveSession()
    if running is not None:
        _refuse_another_master(running, master)
        return _adjusted(running, config or {})
    chosen = with_retries(master) if master else None
    if chosen is None and not _is_submitted():
        chosen = with_retries("local[*]")
    if not (chosen or "").startswith("sc://"):
        check_java()
    return _adjusted(_started(chosen, name, quiet, memory, config or {}), {})


def with_retries(master: str) -> str:
    """Return a local master that runs a lost task again, as clusters do.

    >>> with_retries("local[2]"), with_retries("local"), with_retries("spark://host:7077")
    ('local[2,4]', 'local[1,4]', 'spark://host:7077')
    """
    if master == "local":
        return f"local[1,{TASK_FAILURES}]"
    found = re.fullmatch(r"local\[(\d+|\*)\]", master)
    return f"local[{found[1]},{TASK_FAILURES}]" if found else master


@cache
def check_java() -> int:
    """Return the version of Java that Spark will start.

    Raises:
        HabitusError: if there is none, or one that is too old.
    """
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else shutil.which("java")
    advice = f"Install Java {JAVA} or later (Debian: apt-get install openjdk-{JAVA}-jre-headless), or set JAVA_HOME."
    try:
        said = subprocess.run([str(program), "-version"], capture_output=True, text=True, check=True, timeout=60).stderr
    except (OSError, subprocess.SubprocessError) as error:
        where = f"JAVA_HOME={home}" if home else "PATH"
        raise HabitusError(f"Spark needs Java, and none runs from {where}. {advice}") from error
    version = java_version(said)
    if version is None or version < JAVA:
        raise HabitusError(f"Spark needs Java {JAVA}, and {program} is {version or 'of an unknown version'}. {advice}")
    return version


def java_version(said: str) -> int | None:
    """Return the major version out of what `java -version` says.

    >>> java_version('openjdk version "17.0.15" 2025-04-15'), java_version('java version "1.8.0_292"')
    (17, 8)
    """
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else None


@contextmanager
def settings(spark: SparkSession, changes: Mapping[str, str]) -> Iterator[None]:
    """Change settings of a session for a while."""
    before = {key: spark.conf.get(key, None) for key in changes}
    try:
        for key, value in changes.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, old in before.items():
            spark.conf.unset(key) if old is None else spark.conf.set(key, old)


def is_connect(spark: Any) -> bool:
    """Say whether a session goes through Spark Connect, which has no `sparkContext`."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def _is_submitted() -> bool:
    """Say whether spark-submit, spark-defaults or SPARK_REMOTE decide where Spark runs."""
    return bool(os.environ.get("PYSPARK_GATEWAY_PORT") or os.environ.get("SPARK_REMOTE") or os.environ.get("MASTER"))


def _refuse_another_master(running: SparkSession, master: str | None) -> None:
    if master is None or is_connect(running):
        return
    found = str(running.sparkContext.master)
    if found.partition("[")[0] != master.partition("[")[0]:
        raise ConfigError(
            f"A Spark session runs already on '{found}', and master={master!r} is another; stop it with "
            "spark.stop(), or leave the master out."
        )


def _adjusted(spark: SparkSession, config: Mapping[str, str]) -> SparkSession:
    for key, value in {**_RUNNING, **config}.items():
        if is_connect(spark) or spark.conf.isModifiable(key):
            spark.conf.set(key, value)
    return spark


def _started(master: str | None, name: str, quiet: bool, memory: str | None, config: Mapping[str, str]) -> SparkSession:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # the workers run the Python that has Habitus
    if (master or "").startswith("sc://"):
        return SparkSession.builder.remote(str(master)).getOrCreate()
    builder = SparkSession.builder.appName(name)
    chosen = {**_RUNNING, "spark.ui.showConsoleProgress": str(not quiet).lower()}
    if quiet:
        chosen["spark.log.level"] = "ERROR"
    if master is not None:
        builder = builder.master(master)
        if master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            chosen |= _LOCAL
    if memory is not None:
        chosen["spark.driver.memory"] = memory
    for key, value in {**chosen, **config}.items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except Exception as error:  # py4j, the launcher and the network each raise their own
        raise HabitusError(
            f"Spark did not start on master {master or 'of spark-submit'!r} ({_first_line(error)}). Check the address, "
            "that the cluster runs the same version of Spark, and JAVA_HOME."
        ) from error


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
