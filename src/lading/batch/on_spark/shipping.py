"""A bundle on its way to the executors of a session: sent once as one file, unpacked once on each machine."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark import SparkFiles

from lading.batch.on_spark.session import is_connect
from lading.batch.shipping import unpacked
from lading.bundle import Bundle


@dataclass(frozen=True)
class Shipped:
    """A bundle as tasks carry it: by its digest, and by the name of the file that Spark has distributed."""

    digest: str
    file: str

    def bundle(self) -> Bundle:
        """Return the bundle on the machine of an executor. Raises what `unpacked` raises."""
        return unpacked(self.digest, lambda: Path(SparkFiles.get(self.file)).open("rb"))


def ship(session: Any, bundle: Bundle) -> Shipped:
    """Have a session send a bundle to its executors, which fetch it with their first task.

    The same bundle again costs nothing: its file has the name of its digest.
    """
    # A file and not a broadcast variable: models may be as large as the memory of a worker.
    file = f"lading-{bundle.digest.removeprefix('sha256:')}.tar"
    if is_connect(session):
        with tempfile.TemporaryDirectory() as folder:
            _write(bundle, Path(folder) / file)
            session.addArtifacts(str(Path(folder) / file), file=True)
    else:
        # Served from where it is for as long as the session lasts, and removed with the session's files.
        path = Path(SparkFiles.getRootDirectory()) / file
        if not path.exists():
            _write(bundle, path)
        session.sparkContext.addFile(str(path))
    return Shipped(bundle.digest, file)


def _write(bundle: Bundle, path: Path) -> None:
    with path.open("wb") as tar:
        bundle.write_tar(tar)
