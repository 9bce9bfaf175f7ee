"""One Spark for all tests of a pytest process; without Java they skip and say why.

`--dist worksteal` knows no groups, but hands out neighbours together: of two processes mostly one starts Spark, and
each at most once. The memory is small so that two fit.
"""

import pytest

from habitus.errors import HabitusError

pytest.importorskip("pyspark", reason="the extra 'spark' is not installed: pip install 'habitus[spark]'")


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    from habitus.spark.session import check_java, spark_session

    try:
        check_java()
    except HabitusError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("spark")
    session = spark_session(
        "local[2]",
        memory="1g",
        config={
            "spark.sql.shuffle.partitions": "4",
            "spark.default.parallelism": "4",
            "spark.local.dir": str(folder / "local"),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            # many small queries: compiling each of them would take longer than running it
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
        },
    )
    yield session
    session.stop()
