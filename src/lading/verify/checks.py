"""The checks of one bundle, one after the other, gathered as they come. Judges no gate.

What runs the model runs in processes that can be ended (`isolation`): a model may crash, or never end.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from lading.bundle import MANIFEST_FILE, Bundle
from lading.errors import (
    DigestMismatch,
    FileMissing,
    FileUnexpected,
    LadingError,
    LinkRefused,
    SizeMismatch,
    SpecialFileRefused,
    TooLarge,
)
from lading.evidence import Check
from lading.runtime.python.host import PythonHost
from lading.verify import environment, measure
from lading.verify.isolation import Child
from lading.verify.model_checks import MODEL_CHECKS, Checks, failed, skipped

# What opening a bundle raises about its files; everything else is about its format.
_FILE_ERRORS = (
    DigestMismatch,
    FileMissing,
    FileUnexpected,
    LinkRefused,
    OSError,
    SizeMismatch,
    SpecialFileRefused,
    TooLarge,
)


class Report(Checks):
    """Checks and numbers of a bundle."""

    _opened: Bundle | None = None

    def open(self, bundle: Bundle | Path | str) -> Bundle | None:
        """Check files and format; return the bundle, or None if one of them does not hold."""
        path = bundle.path if isinstance(bundle, Bundle) else Path(bundle)
        digest = bundle.digest if isinstance(bundle, Bundle) else None
        try:
            opened = Bundle.open(path, digest=digest)
        except (LadingError, OSError) as error:
            broken, other = ("files", "format") if isinstance(error, _FILE_ERRORS) else ("format", "files")
            checks = {broken: failed(broken, "", error), other: skipped(other, f"`{broken}` did not hold")}
            self.checks = [checks["files"], checks["format"]]
            return None
        files = opened.manifest.files
        self._pass("files", "every file as the manifest says", f"{len(files)} files, digests agree")
        self._pass("format", "every rule of FORMAT.md", f"format {opened.manifest.format}")
        self._opened = opened
        return opened

    def examine(self, bundle: Bundle, threads: int, timeout_s: float, python: PythonHost) -> None:
        """Make every check after those of `open`; all that run the model within `timeout_s` together."""
        deadline = time.monotonic() + timeout_s
        child = Child("verify", bundle, threads=threads, timeout_s=timeout_s, python=python)
        self._run_model(child)
        # In another process, and after the session of the first is closed: the model is in memory only once.
        left_s = max(1.0, deadline - time.monotonic())
        self.check("memory", "measured", lambda: self._memory(bundle, threads, left_s, python))
        self.check("size", "measured", lambda: self._size(bundle))
        self.check("environment", "libraries as in training", lambda: environment.compare(bundle.manifest))

    def _run_model(self, child: Child) -> None:
        """Add the checks that run the model; if one ends its process, those after it are skipped."""
        outcome = child.outcome()
        for record in outcome.records:
            self.numbers.update(record.numbers)
            self.worst = self.worst if record.worst is None else record.worst
            if record.check is not None:
                self.add(record.check)
        fault = outcome.check
        if fault is None:
            outcome.raise_error()
            return
        # It may have ended after its last check, while the model was closed.
        self.checks = [check for check in self.checks if check.name != outcome.step]
        self.add(fault)
        left = MODEL_CHECKS[MODEL_CHECKS.index(outcome.step) + 1 :]
        self.skip(left, because=f"`{outcome.step}` did not hold")

    def skip(self, names: Sequence[str], because: str) -> None:
        """Add the checks of these names as skipped."""
        self.checks += [skipped(name, because) for name in names]

    def identity(self, bundle: Bundle | Path | str) -> tuple[str, str]:
        """Return digest and name; of a bundle that cannot be opened the digest of the manifest's bytes."""
        if isinstance(bundle, Bundle):
            return bundle.digest, bundle.manifest.name
        if self._opened is not None:
            return self._opened.digest, self._opened.manifest.name
        # The digest of a bundle is that of its manifest (FORMAT.md), even if something else in it is broken.
        path = Path(bundle)
        try:
            data = (path / MANIFEST_FILE).read_bytes()
        except OSError:
            return "", path.name
        return f"sha256:{hashlib.sha256(data).hexdigest()}", path.name

    def _memory(self, bundle: Bundle, threads: int, timeout_s: float, python: PythonHost) -> str:
        self.numbers.update(measure.memory(bundle, threads, python, timeout_s))
        return f"memory_mb {self.numbers['memory_mb']:.3g}"

    def _size(self, bundle: Bundle) -> str:
        self.numbers["size_mb"] = measure.size_mb(bundle)
        return f"size_mb {self.numbers['size_mb']:.3g}"

    def _pass(self, name: str, expected: str, observation: str) -> None:
        self.checks.append(Check(name, "passed", expected=expected, found=observation))
