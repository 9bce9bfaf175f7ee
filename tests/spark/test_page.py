"""The Python of docs/spark.md that prepares and scores runs as it stands."""

import contextlib
import io
import re
from pathlib import Path

from tests.spark.models import small_log, small_model

PAGE = Path(__file__).parents[2] / "docs" / "spark.md"


def test_the_blocks_on_preparing_and_scoring_run(spark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_log().events.write_parquet("installs.parquet")
    small_log().labels.write_parquet("labels.parquet")
    small_model().save("runs/risk")
    text = PAGE.read_text("utf-8").partition("\n## Training")[0]
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            exec(compile(block, PAGE.name, "exec"), names)
    n = small_log().labels.height
    first, last = printed.getvalue().splitlines()
    assert first.startswith(f"{n} {{") and first.endswith("rows was rejected.")
    assert last == f"['risk_prediction', 'risk_probability'] {n} 0"
