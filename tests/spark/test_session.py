"""The session has the settings that the rest relies on, and says in a sentence what is missing."""

import stat
import sys

import pytest

from habitus.errors import ConfigError, HabitusError
from habitus.spark import session


def test_the_session_speaks_utc_and_retries_lost_tasks(spark):
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.sql.parquet.outputTimestampType") == "TIMESTAMP_MICROS"
    assert spark.sparkContext.master == "local[2,4]"


def test_a_running_session_is_taken(spark):
    assert session.spark_session() is spark
    assert session.spark_session("local[1]") is spark
    with pytest.raises(ConfigError, match="runs already on 'local"):
        session.spark_session("spark://127.0.0.1:7077")


def test_settings_are_put_back(spark):
    before = spark.conf.get("spark.sql.shuffle.partitions")
    with session.settings(spark, {"spark.sql.shuffle.partitions": "7"}):
        assert spark.conf.get("spark.sql.shuffle.partitions") == "7"
    assert spark.conf.get("spark.sql.shuffle.partitions") == before


def java_that_says(folder, text):
    program = folder / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nprint({text!r}, file=sys.stderr)\n", "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_java_is_missing_or_too_old(tmp_path, monkeypatch):
    check = session.check_java.__wrapped__
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(HabitusError, match="none runs from JAVA_HOME"):
        check()
    java_that_says(tmp_path, 'openjdk version "11.0.2" 2019-01-15')
    with pytest.raises(HabitusError, match=r"needs Java 17, and .* is 11\. Install"):
        check()
