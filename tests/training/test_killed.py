"""A run that the operating system kills at any moment, also while it writes a checkpoint, resumes to the same bits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("n_kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, n_kills):
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(script), str(tmp_path), str(n_kills)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(kill["same"] for kill in found), (found, done.stderr)
    assert sum(kill["died"] for kill in found) >= n_kills - 1  # one may have finished within the last 20 ms
    assert max(kill["after_step"] for kill in found) > 5
