"""The reference imports NumPy and Python's own library, and nothing else; every forward has its backward."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from habitus import reference

FILES = sorted(Path(reference.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_imports_numpy_and_its_own_folder_only(path):
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    for name in names:
        is_own = name.startswith("habitus.reference.")
        assert is_own or name.partition(".")[0] in {"numpy", *sys.stdlib_module_names}, name


def test_importing_it_loads_no_other_part(tmp_path):
    script = "import sys, habitus.reference; print(*(n for n in sys.modules if n.startswith(('habitus.', 'torch'))))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("habitus.reference")}
    assert loaded <= {"habitus.errors"}, loaded  # `habitus` itself names its errors


def test_every_forward_has_its_backward_and_both_say_what_they_compute():
    names = [name for name in reference.__all__ if name.endswith("_forward")]
    for name in names:
        assert getattr(reference, name.removesuffix("_forward") + "_backward").__doc__, name
        assert getattr(reference, name).__doc__, name


def test_files_stay_short():
    for path in FILES:
        assert len(path.read_text("utf-8").splitlines()) <= (200 if path.name == "classifier.py" else 300), path.name
