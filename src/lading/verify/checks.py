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
from lading.evidence import Check
from lading.runtime import Runtime
from lading.runtime.onnx.signature_check import check_signature
from lading.verify import environment, measure
from lading.verify.golden_replay import replay, replay_alone

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

# Half of the tolerance: a golden row that uses up more of it is worth naming although it holds.
_NOTEWORTHY_EXCESS = 0.5


class Report:
    """Checks and numbers in the order in which they were made."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.numbers: dict[str, float] = {}
        self._opened: Bundle | None = None
        self._runtime: Runtime | None = None

    def open(self, bundle: Bundle | Path | str) -> Bundle | None:
        """Check files and format; return the bundle, or None if one of them does not hold."""
        path = bundle.path if isinstance(bundle, Bundle) else Path(bundle)
        digest = bundle.digest if isinstance(bundle, Bundle) else None
        try:
            opened = Bundle.open(path, digest=digest)
        except (LadingError, OSError) as error:
            failed, other = ("files", "format") if isinstance(error, _FILE_ERRORS) else ("format", "files")
            checks = {failed: _failed(failed, "", error), other: _skipped(other, f"`{failed}` did not hold")}
            self.checks = [checks["files"], checks["format"]]
            return None
        files = opened.manifest.files
        self._pass("files", "every file as the manifest says", f"{len(files)} files, digests agree")
        self._pass("format", "every rule of FORMAT.md", f"format {opened.manifest.format}")
        self._opened = opened
        return opened

    def examine(self, bundle: Bundle, threads: int) -> None:
        """Run every check after those of `open`."""
        self._check("onnx", "a model that the ONNX checker accepts", lambda: environment.check_onnx(bundle))
        self._check("opset", "versions that ONNX Runtime reads", lambda: environment.check_opset(bundle))
        try:
            self._check(
                "session",
                "ONNX Runtime loads the model",
                lambda: self._load(bundle, threads),
                needs=("opset",),
            )
            self._check_answers(bundle)
        finally:
            if self._runtime is not None:
                self._runtime.close()
        # In a process of its own, and after the session here is closed: the model is in memory only once.
        self._check("memory", "measured", lambda: self._memory(bundle, threads), needs=("golden",))
        self._check("size", "measured", lambda: self._size(bundle))
        self._check("environment", "libraries as in training", lambda: environment.compare(bundle.manifest))

    def skip_from(self, first: str, names: tuple[str, ...], because: str) -> None:
        """Add every check from `first` on as skipped."""
        self.checks += [_skipped(name, because) for name in names[names.index(first) :]]

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

    def _check_answers(self, bundle: Bundle) -> None:
        """Run the checks that need the open session; without one they are skipped."""
        manifest = bundle.manifest
        self._check(
            "signature",
            "the model's names, dtypes and shapes",
            lambda: self._signature(bundle),
            needs=("session",),
        )
        within = f"rtol {manifest.tolerance.rtol:g}, atol {manifest.tolerance.atol:g}"
        expected = f"the answers of {manifest.expected_from} within {within}"
        self._check("golden", expected, lambda: self._golden(bundle), needs=("signature",))
        self._check("batch", "the same alone as in a batch", lambda: self._batch(bundle), needs=("golden",))
        self._check("latency", "measured", lambda: self._latency(bundle), needs=("golden",))

    @property
    def _session(self) -> Runtime:
        """The open session; a check that uses it needs `session` or one after it."""
        assert self._runtime is not None
        return self._runtime

    def _load(self, bundle: Bundle, threads: int) -> str:
        self._runtime, load_ms = measure.load(bundle, threads)
        self.numbers["load_ms"] = load_ms
        return f"loaded in {load_ms:.3g} ms with {_count(threads, 'thread')}"

    def _signature(self, bundle: Bundle) -> str:
        signature = bundle.manifest.signature
        check_signature(signature, self._session.inputs, self._session.outputs)
        return f"{_count(len(signature.inputs), 'input')}, {_count(len(signature.outputs), 'output')} agree"

    def _golden(self, bundle: Bundle) -> str:
        parity = replay(self._session, bundle)
        self.numbers["golden_rows"] = parity.rows
        self.numbers["golden_max_abs_error"] = parity.max_abs_error
        self.numbers["golden_label_flips"] = parity.label_flips
        text = (
            f"{_count(parity.rows, 'row')}, largest error {parity.max_abs_error:.3g}, "
            f"{_count(parity.label_flips, 'label')} differing"
        )
        if parity.worst and parity.worst[0].excess > _NOTEWORTHY_EXCESS:
            return f"{text}; least agreeing: {parity.worst[0]}"
        return text

    def _batch(self, bundle: Bundle) -> str | Check:
        signature = bundle.manifest.signature
        if not signature.batched:
            reason = (
                "the model has no batch dimension"
                if signature.independent_rows
                else "a row's answer depends on the other rows"
            )
            return _skipped("batch", f"{reason}, so requests are never merged")
        parity = replay_alone(self._session, bundle)
        return f"{parity.rows} rows alone and together, largest difference {parity.max_abs_error:.3g}"

    def _latency(self, bundle: Bundle) -> str:
        numbers = measure.latency(self._session, bundle)
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
        """Add the check `name`.

        `look` returns the observation of a check that passed, or a whole `Check`, or raises a `LadingError`.
        """
        # A skipped check counts like a failed one, so that a failure skips all that build on it.
        missing = [check.name for check in self.checks if check.name in needs and check.outcome != "passed"]
        if missing:
            self.checks.append(_skipped(name, f"`{missing[0]}` did not hold"))
            return
        try:
            observation = look()
        except (LadingError, OSError) as error:
            self.checks.append(_failed(name, expected, error))
            return
        if isinstance(observation, Check):
            self.checks.append(observation)
        else:
            self._pass(name, expected, observation)

    def _pass(self, name: str, expected: str, observation: str) -> None:
        self.checks.append(Check(name, "passed", expected=expected, found=observation))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _failed(name: str, expected: str, error: LadingError | OSError) -> Check:
    if isinstance(error, OSError):
        return Check(name, "failed", expected=expected, found=str(error))
    observation = f"{error.where}: {error.found}" if error.found else error.where
    return Check(
        name, "failed", expected=error.expected or expected, found=observation, hint=error.hint or ""
    )


def _skipped(name: str, because: str) -> Check:
    return Check(name, "skipped", found=because)
