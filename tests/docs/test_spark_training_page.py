"""The Python of docs/spark.md on training and the cluster runs as it stands, without Spark being started."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "spark.md"


@pytest.mark.parametrize("section", ["Training", "A cluster of this machine"])
def test_the_blocks_of_a_section_run(section):
    pytest.importorskip("pyspark", reason="the extra 'spark' is not installed: pip install 'habitus[spark]'")
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, f"{PAGE.name}: {section}", "exec"), {})
