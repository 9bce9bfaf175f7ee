"""A page of plain data that is no run's: what a search found, made like the report of any task."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from habitus.atomic import write_file
from habitus.errors import MissingExtraError
from habitus.evaluate._page import Run, rendered
from habitus.evaluate.task_report import task_context


def write_page(path: Path, metrics: Mapping[str, Any]) -> Path | None:
    """Write a page from what metrics.json of a task holds; say so on stderr where its packages are not installed.

    Args:
        path: the HTML file.
        metrics: task, target, n, unit, primary, metrics, panels and run, as plain data.
    """
    run = Run(path.parent, metrics, {}, [], {}, {}, "", "")
    try:
        write_file(path, rendered("task_report.html", task_context(run)))
    except MissingExtraError as error:
        print(f"No report was written. {error}", file=sys.stderr)
        return None
    return path
