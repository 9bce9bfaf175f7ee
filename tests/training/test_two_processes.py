"""Two processes share the batches of an epoch, average their gradients and end with the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_two_processes_end_with_equal_weights(tmp_path, tiny):
    script = Path(__file__).with_name("two_processes.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*launch, str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    both = [
        {name: (tmp_path / f"{name}-{rank}").read_text() for name in ("digest", "batches", "best")} for rank in "01"
    ]
    assert both[0] == both[1]
    assert int(both[0]["batches"]) == 2 * -(-tiny.N_BATCHES // 2)  # half of the batches each, the odd one repeated
    assert both[0]["digest"] != tiny.digest(tiny.run(epochs=2)[0])  # larger steps than one process takes
