"""Score on a standalone cluster again and again while something is killed, and print what came of each run.

python tests/spark/kill_scoring.py BUNDLE ROWS FOLDER N_KILLS
"""

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import polars as pl

from habitus.spark.cluster import Cluster
from habitus.spark.scoring import score_rows
from habitus.spark.session import spark_session


def words_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def parent_of(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descends_from(pid, ancestors):
    while pid > 1:
        if pid in ancestors:
            return True
        pid = parent_of(pid)
    return False


def victims(cluster, kind):
    """Return the Python workers, or the executors, of a cluster."""
    ours = {process.pid for process in cluster.processes.values()}
    pids = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if descends_from(pid, ours)]
    if kind == "executor":
        return [pid for pid in pids if "CoarseGrainedExecutorBackend" in words_of(pid)]
    daemons = {pid for pid in pids if "spark.daemon" in words_of(pid)}
    return [pid for pid in daemons if parent_of(pid) in daemons]


def kill_later(cluster, kind, after_s, killed):
    """Kill one victim after a while, in a thread; wait for one to be there."""

    def work():
        time.sleep(after_s)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = victims(cluster, kind)
            if found:
                os.kill(random.choice(found), signal.SIGKILL)
                killed.append(kind)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def fingerprint(folder):
    """Return how many rows a folder of scores holds, how many ids, a checksum of all, and whether it is whole."""
    frame = pl.read_parquet(folder / "*.parquet").sort("user_id")
    return {
        "rows": frame.height,
        "ids": frame["user_id"].n_unique(),
        "checksum": hashlib.sha256(frame.write_csv(float_precision=6).encode()).hexdigest(),
        "success": (folder / "_SUCCESS").is_file(),
        "leftovers": [path.name for path in folder.glob("_temporary*")],
    }


def main(bundle, rows, folder, n_kills):
    random.seed(0)
    with Cluster(workers=2, folder=folder / "cluster") as cluster:
        spark = spark_session(cluster.master, config={**cluster.settings, "spark.task.maxFailures": "8"})
        frame = spark.read.parquet(str(rows)).repartition(24)
        scored = score_rows(frame, bundle, keep=["user_id", "cutoff"]).drop("rejected")

        def run(name, kind=None, after_s=0.0):
            killed, began = [], time.monotonic()
            thread = kill_later(cluster, kind, after_s, killed) if kind else None
            scored.write.mode("overwrite").parquet(str(folder / name))
            seconds = time.monotonic() - began
            if thread is not None:
                thread.join()
            print(json.dumps({"name": name, "killed": killed, "seconds": seconds, **fingerprint(folder / name)}))
            sys.stdout.flush()
            return seconds

        run("warm")
        seconds = run("undisturbed")
        for number in range(n_kills):
            for kind in ("python", "executor"):
                run(f"{kind}-{number}", kind, seconds * random.uniform(0.2, 0.7))
        spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
