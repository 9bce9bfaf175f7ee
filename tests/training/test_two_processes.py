"""Two processes share the batches of an epoch, average their gradients and end with the same weights."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder, rank, port):
    """Start one of two processes, as `accelerate launch` or `torchrun` would."""
    environment = os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(Path(__file__).with_name("two_processes.py")), str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_two_processes_end_with_equal_weights(tmp_path, tiny):
    port = free_port()
    processes = [start(tmp_path, rank, port) for rank in range(2)]
    try:
        printed = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], printed
    both = [
        {name: (tmp_path / f"{name}-{rank}").read_text() for name in ("digest", "batches", "best")} for rank in "01"
    ]
    assert both[0] == both[1]
    assert int(both[0]["batches"]) == 2 * -(-tiny.N_BATCHES // 2)  # half of the batches each, the odd one repeated
    assert both[0]["digest"] != tiny.digest(tiny.run(epochs=2)[0])  # larger steps than one process takes
