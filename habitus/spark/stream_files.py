"""The batch folders of a streaming query, on whatever file system Spark writes to.

OUT/stream.json names the checkpoint that the batches belong to: another checkpoint counts its batches from 0 again
and would overwrite them.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pyspark.sql import SparkSession

from habitus.errors import ConfigError

_NAMES = "stream.json"


class Folder:
    """A folder that Spark can reach; see the module.

    Args:
        spark: a classic session.
        path: a local path, or an address such as s3a://bucket/folder.
    """

    def __init__(self, spark: SparkSession, path: str) -> None:
        self.path = path.rstrip("/")
        self._jvm: Any = spark._jvm
        self._conf = spark._jsc.hadoopConfiguration()

    def exists(self, name: str = "") -> bool:
        """Say whether the folder, or something in it, is there."""
        path = self._path(name)
        return bool(path.getFileSystem(self._conf).exists(path))

    def batch(self, number: int) -> str:
        """Return the folder of a batch."""
        return f"{self.path}/batch={number:010d}"

    def finished(self) -> list[str]:
        """Return the folders of the batches that are whole, in order."""
        if not self.exists():
            return []
        root = self._path("")
        names = sorted(one.getPath().getName() for one in root.getFileSystem(self._conf).listStatus(root))
        batches = [name for name in names if re.fullmatch(r"batch=\d{10}", name)]
        return [f"{self.path}/{name}" for name in batches if self.exists(f"{name}/_SUCCESS")]

    def refuse_foreign(self, checkpoint: str) -> None:
        """Refuse batches of another checkpoint; remember this one.

        Raises:
            ConfigError: with what to do.
        """
        mine = self._of_checkpoint(checkpoint)
        if self.exists(_NAMES):
            known = json.loads(self._read(_NAMES))["checkpoint"]
            if known != mine["checkpoint"] or (not self._is_begun(checkpoint) and self.finished()):
                raise ConfigError(
                    f"--out '{self.path}' holds batches of the checkpoint '{known}', which this query would overwrite; "
                    "give that --checkpoint to go on, or another --out to start anew."
                )
        elif self.finished():
            raise ConfigError(f"--out '{self.path}' holds batches of an unknown query; give another folder.")
        else:
            self._write(_NAMES, json.dumps(mine))

    def _of_checkpoint(self, checkpoint: str) -> dict[str, str]:
        path = self._jvm.org.apache.hadoop.fs.Path(checkpoint)
        return {"checkpoint": str(path.getFileSystem(self._conf).makeQualified(path).toString())}

    def _is_begun(self, checkpoint: str) -> bool:
        path = self._jvm.org.apache.hadoop.fs.Path(checkpoint, "metadata")
        return bool(path.getFileSystem(self._conf).exists(path))

    def _path(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self.path}/{name}" if name else self.path)

    def _read(self, name: str) -> str:
        path = self._path(name)
        stream = path.getFileSystem(self._conf).open(path)
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def _write(self, name: str, text: str) -> None:
        path = self._path(name)
        stream = path.getFileSystem(self._conf).create(path, True)
        try:
            stream.write(bytearray(text.encode()))
        finally:
            stream.close()
