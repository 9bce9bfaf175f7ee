"""A standalone Spark cluster on this machine, out of the PySpark package: one master and workers as processes.

    with Cluster(workers=2) as cluster:
        spark = spark_session(cluster.master, config=cluster.settings)

For trials, tests and single large machines. Every process has its own log in the cluster's folder, ports are free
ones, nothing listens beyond 127.0.0.1, and all processes end with the block, also on an error or Ctrl-C.
`python -m habitus.spark.cluster --workers 2` starts one and holds it until Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO

import pyspark

from habitus.errors import ConfigError, HabitusError
from habitus.spark.session import check_java

_HOST = "127.0.0.1"
_MASTER, _WORKER = "org.apache.spark.deploy.master.Master", "org.apache.spark.deploy.worker.Worker"
_AT = re.compile(r"Starting Spark master at (spark://\S+)")
_REGISTERED = "Successfully registered with master"


class Cluster:
    """A running cluster; see the module.

    Args:
        workers: how many.
        cores: tasks that each runs at once.
        memory: that each may give to executors, such as "1g".
        folder: for logs and scratch files; None takes a temporary one that is removed at the end.
        timeout_s: how long starting may take.

    Raises:
        HabitusError: if a process does not start; with the last lines of its log.
    """

    master: str  # the address, once it runs
    folder: Path

    def __init__(
        self,
        *,
        workers: int = 2,
        cores: int = 1,
        memory: str = "1g",
        folder: str | Path | None = None,
        timeout_s: float = 180.0,
    ) -> None:
        if workers < 1 or cores < 1:
            raise ConfigError(f"workers={workers}, cores={cores}: a cluster needs one or more of both.")
        self.n_workers, self.cores, self.memory, self.timeout_s = workers, cores, memory, timeout_s
        self._given = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a session on this cluster: one executor a worker, with all its memory."""
        return {
            "spark.driver.host": _HOST,
            "spark.driver.bindAddress": _HOST,
            "spark.ui.enabled": "false",
            "spark.executor.memory": self.memory,
            "spark.executor.cores": str(self.cores),
        }

    def start(self) -> Cluster:
        """Start the master, then the workers, and wait until all have registered."""
        check_java()
        self.folder = Path(self._given or tempfile.mkdtemp(prefix="habitus-cluster-")).absolute()
        for name in ("conf", "local", "work", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        try:
            self._spawn("master", _MASTER, "--host", _HOST, "--port", "0", "--webui-port", "0")
            self.master = self._wait("master", _AT)
            names = [f"worker-{number}" for number in range(self.n_workers)]
            for name in names:
                self.start_worker(name, wait=False)
            for name in names:
                self._wait(name, re.compile(f"({_REGISTERED})"))
        except BaseException:
            self.stop()
            raise
        return self

    def start_worker(self, name: str, *, wait: bool = True) -> None:
        """Start one more worker, or one that was killed again."""
        options = ("--host", _HOST, "--webui-port", "0", "-c", str(self.cores), "-m", self.memory)
        self._spawn(name, _WORKER, *options, self.master)
        if wait:
            self._wait(name, re.compile(f"({_REGISTERED})"))

    def stop(self) -> None:
        """End every process, and remove the folder if it was a temporary one."""
        for asked in (signal.SIGTERM, signal.SIGKILL):
            for process in reversed(self.processes.values()):
                _signal(process, asked)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and any(one.poll() is None for one in self.processes.values()):
                time.sleep(0.05)
        self.processes.clear()
        if self._given is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Cluster:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- inside

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _spawn(self, name: str, *words: str) -> None:
        home = Path(str(pyspark.__file__)).parent
        file: IO[bytes]
        with self._log(name).open("wb") as file:
            self.processes[name] = subprocess.Popen(
                [str(home / "bin" / "spark-class"), *words],
                env=self._environment(home),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that a Ctrl-C reaches us first, and executors end with their worker
            )

    def _environment(self, home: Path) -> dict[str, str]:
        return {
            **os.environ,
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": _HOST,
            "SPARK_CONF_DIR": str(self.folder / "conf"),
            "SPARK_WORKER_DIR": str(self.folder / "work"),
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
            "SPARK_DAEMON_MEMORY": "256m",
            "PYSPARK_PYTHON": sys.executable,
        }

    def _wait(self, name: str, pattern: re.Pattern[str]) -> str:
        """Return what the pattern finds in a log, as soon as it is there."""
        deadline = time.monotonic() + self.timeout_s
        while time.monotonic() < deadline:
            said = self._log(name).read_text("utf-8", "replace")
            found = pattern.search(said)
            if found:
                return found[1]
            if self.processes[name].poll() is not None:
                break
            time.sleep(0.05)
        lines = " | ".join(self._log(name).read_text("utf-8", "replace").splitlines()[-3:])
        raise HabitusError(f"The {name} of the cluster did not start within {self.timeout_s:.0f} s; it said: {lines}")


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and its children, if they are there."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        process.poll()


def main(arguments: list[str] | None = None) -> int:
    """Hold a cluster until Ctrl-C or a signal to end."""
    parser = argparse.ArgumentParser(prog="python -m habitus.spark.cluster", description=str(__doc__).split("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="how many (default 2)")
    parser.add_argument("--cores", type=int, default=1, help="tasks that each runs at once (default 1)")
    parser.add_argument("--memory", default="1g", help="of each worker (default 1g)")
    parser.add_argument("--folder", help="for logs and scratch files (default: a temporary one)")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Cluster(workers=given.workers, cores=given.cores, memory=given.memory, folder=given.folder) as cluster:
        print(cluster.master, flush=True)
        print(f"logs in {cluster.folder / 'logs'}; Ctrl-C stops the cluster", file=sys.stderr, flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
