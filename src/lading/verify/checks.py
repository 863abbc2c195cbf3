"""The checks of one bundle, one after the other, gathered as they come. Judges no gate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
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
from lading.evidence import Check, Outcome
from lading.runtime import Runtime
from lading.runtime.onnx.signature_check import check_signature
from lading.verify import environment, measure
from lading.verify.golden_replay import replay, replay_alone

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


class Report:
    """Checks and numbers in the order in which they were made."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.numbers: dict[str, float] = {}
        self._opened: Bundle | None = None

    def open(self, bundle: Bundle | Path | str) -> Bundle | None:
        """Check files and format; None where one of them does not hold."""
        path = bundle.path if isinstance(bundle, Bundle) else Path(bundle)
        digest = bundle.digest if isinstance(bundle, Bundle) else None
        try:
            opened = Bundle.open(path, digest=digest)
        except (LadingError, OSError) as error:
            at_files = isinstance(error, _FILE_ERRORS)
            names = ("files", "format") if at_files else ("format", "files")
            self.checks = sorted(
                [_failed(names[0], "", error), _skipped(names[1], f"`{names[0]}` did not hold")],
                key=lambda check: ("files", "format").index(check.name),
            )
            return None
        files = opened.manifest.files
        self._add("files", "passed", "every file as the manifest says", f"{len(files)} files, digests agree")
        self._add("format", "passed", "every rule of FORMAT.md", f"format {opened.manifest.format}")
        self._opened = opened
        return opened

    def examine(self, bundle: Bundle, threads: int) -> None:
        """Run every check after those of `open`."""
        self._check("onnx", "a model that the ONNX checker accepts", lambda: environment.check_onnx(bundle))
        self._check("opset", "versions that ONNX Runtime reads", lambda: environment.check_opset(bundle))
        runtime: list[Runtime] = []

        def load() -> str:
            opened, load_ms = measure.load(bundle, threads)
            runtime.append(opened)
            self.numbers["load_ms"] = load_ms
            return f"loaded in {load_ms:.3g} ms with {_count(threads, 'thread')}"

        try:
            self._check("session", "ONNX Runtime loads the model", load, needs=("opset",))
            self._check_answers(bundle, runtime)
        finally:
            for one in runtime:
                one.close()
        self._check("memory", "measured", lambda: self._memory(bundle, threads), needs=("golden",))
        self._check("size", "measured", lambda: self._size(bundle))
        self._check("environment", "libraries as in training", lambda: environment.compare(bundle.manifest))

    def _check_answers(self, bundle: Bundle, runtime: list[Runtime]) -> None:
        """Check what needs the open session; `runtime` is empty where there is none."""
        manifest = bundle.manifest

        def agree() -> str:
            check_signature(manifest.signature, runtime[0].inputs, runtime[0].outputs)
            signature = manifest.signature
            return (
                f"{_count(len(signature.inputs), 'input')}, {_count(len(signature.outputs), 'output')} agree"
            )

        self._check("signature", "the model's names, dtypes and shapes", agree, needs=("session",))
        within = f"rtol {manifest.tolerance.rtol:g}, atol {manifest.tolerance.atol:g}"
        expected = f"the answers of {manifest.expected_from} within {within}"
        self._check("golden", expected, lambda: self._golden(runtime[0], bundle), needs=("signature",))
        self._check("batch", "the same alone as in a batch", lambda: _batch(runtime[0], bundle), ("golden",))
        self._check("latency", "measured", lambda: self._latency(runtime[0], bundle), needs=("golden",))

    def _golden(self, runtime: Runtime, bundle: Bundle) -> str:
        parity = replay(runtime, bundle)
        self.numbers["golden_rows"] = parity.rows
        self.numbers["golden_max_abs_error"] = parity.max_abs_error
        self.numbers["golden_label_flips"] = parity.label_flips
        worst = (
            f"; least agreeing: {parity.worst[0]}" if parity.worst and parity.worst[0].excess > 0.5 else ""
        )
        flips = f"{_count(parity.label_flips, 'label')} differing"
        return f"{_count(parity.rows, 'row')}, largest error {parity.max_abs_error:.3g}, {flips}{worst}"

    def _latency(self, runtime: Runtime, bundle: Bundle) -> str:
        numbers = measure.latency(runtime, bundle)
        self.numbers.update(numbers)
        return ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())

    def _memory(self, bundle: Bundle, threads: int) -> str:
        self.numbers["memory_mb"] = measure.memory_mb(bundle, threads)
        return f"memory_mb {self.numbers['memory_mb']:.3g}"

    def _size(self, bundle: Bundle) -> str:
        self.numbers["size_mb"] = measure.size_mb(bundle)
        return f"size_mb {self.numbers['size_mb']:.3g}"

    def _check(
        self, name: str, expected: str, look: Callable[[], str | Check], needs: tuple[str, ...] = ()
    ) -> None:
        """Add the check `name`; `look` gives what was found, a whole `Check`, or raises a `LadingError`."""
        missing = [check.name for check in self.checks if check.name in needs and check.outcome != "passed"]
        if missing:
            self.checks.append(_skipped(name, f"`{missing[0]}` did not hold"))
            return
        try:
            found = look()
        except (LadingError, OSError) as error:
            self.checks.append(_failed(name, expected, error))
            return
        if isinstance(found, Check):
            self.checks.append(found)
        else:
            self._add(name, "passed", expected, found)

    def _add(self, name: str, outcome: Outcome, expected: str, found: str) -> None:
        self.checks.append(Check(name, outcome, expected=expected, found=found))

    def skip_from(self, first: str, names: tuple[str, ...], because: str) -> None:
        """Add every check from `first` on as skipped."""
        self.checks += [_skipped(name, because) for name in names[names.index(first) :]]

    def identity(self, bundle: Bundle | Path | str) -> tuple[str, str]:
        """Return digest and name; of a bundle that cannot be opened the digest of the manifest's bytes."""
        if isinstance(bundle, Bundle) or self._opened is not None:
            one = bundle if isinstance(bundle, Bundle) else self._opened
            assert one is not None
            return one.digest, one.manifest.name
        path = Path(bundle)
        try:
            data = (path / MANIFEST_FILE).read_bytes()
        except OSError:
            return "", path.name
        return f"sha256:{hashlib.sha256(data).hexdigest()}", path.name


def _batch(runtime: Runtime, bundle: Bundle) -> str | Check:
    if not bundle.manifest.signature.batched:
        return _skipped("batch", "the model has no batch dimension, so requests are never merged")
    parity = replay_alone(runtime, bundle)
    return f"{parity.rows} rows alone and together, largest difference {parity.max_abs_error:.3g}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _failed(name: str, expected: str, error: LadingError | OSError) -> Check:
    if isinstance(error, OSError):
        return Check(name, "failed", expected=expected, found=str(error))
    found = f"{error.where}: {error.found}" if error.found else error.where
    return Check(name, "failed", expected=error.expected or expected, found=found, hint=error.hint or "")


def _skipped(name: str, because: str) -> Check:
    return Check(name, "skipped", found=because)
