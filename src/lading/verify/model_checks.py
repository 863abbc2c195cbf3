"""The checks that run the model, one after the other. They are made in a process of their own (`child`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lading.bundle import Bundle
from lading.errors import BatchMismatch, LadingError
from lading.evidence import Check, GoldenRow
from lading.parity import Parity
from lading.runtime import Runtime
from lading.runtime.onnx.signature_check import check_signature
from lading.runtime.python.host import DEFAULT_HOST, PythonHost
from lading.verify import environment, measure
from lading.verify.golden_replay import golden_rows, replay, replay_alone, replay_whole

MODEL_CHECKS = ("onnx", "opset", "session", "signature", "golden", "batch", "latency")
"""The names of these checks, in their order."""

NEEDS = {
    "session": "opset",
    "signature": "session",
    "golden": "signature",
    "batch": "golden",
    "latency": "golden",
    "memory": "golden",
}
"""The check that each builds on; without it passed a check is skipped."""

# Half of the tolerance: a golden row that uses up more of it is worth naming although it holds.
_NOTEWORTHY_EXCESS = 0.5


class Checks:
    """Checks and numbers in the order in which they were made."""

    def __init__(
        self,
        on_begin: Callable[[str], None] = lambda _: None,
        on_end: Callable[[Check], None] = lambda _: None,
    ) -> None:
        """`on_begin` is called with the name of a check that is made now, `on_end` with its outcome."""
        self.checks: list[Check] = []
        self.numbers: dict[str, float] = {}
        self.worst: tuple[GoldenRow, ...] | None = None
        self._needs: Mapping[str, str] = NEEDS
        self._on_begin = on_begin
        self._on_end = on_end

    def check(self, name: str, expected: str, look: Callable[[], str | Check]) -> None:
        """Add the check `name`.

        `look` returns the observation of a check that passed, or a whole `Check`, or raises a `LadingError`.
        """
        # A skipped check counts like a failed one, so that a failure skips all that build on it.
        missing = self.missing(name)
        if missing:
            self.add(skipped(name, f"`{missing}` did not hold"))
            return
        self._on_begin(name)
        try:
            observation = look()
        except (LadingError, OSError) as error:
            self.add(failed(name, expected, error))
            return
        if isinstance(observation, str):
            observation = Check(name, "passed", expected=expected, found=observation)
        self.add(observation)

    def missing(self, name: str) -> str:
        """Return the check that `name` builds on if it did not pass; empty if it did, or there is none."""
        needed = self._needs.get(name)
        broken = [check for check in self.checks if check.name == needed and check.outcome != "passed"]
        return broken[0].name if broken else ""

    def add(self, check: Check) -> None:
        """Add a check that was made."""
        self.checks.append(check)
        self._on_end(check)


class ModelChecks(Checks):
    """The checks of one model that is loaded here."""

    _runtime: Runtime | None = None
    _mixes_rows: BatchMismatch | None = None

    def examine(self, bundle: Bundle, threads: int, python: PythonHost = DEFAULT_HOST) -> None:
        """Make every check of `MODEL_CHECKS`; a model in Python runs on the terms of `python`."""
        manifest = bundle.manifest
        if not bundle.has_onnx:
            # What does not apply was not passed, and holds nothing up.
            self._needs = {name: needed for name, needed in NEEDS.items() if needed != "opset"}
        within = f"rtol {manifest.tolerance.rtol:g}, atol {manifest.tolerance.atol:g}"
        golden = f"the answers of {manifest.expected_from} within {within}"
        self.check("onnx", "a model that the ONNX checker accepts", lambda: environment.check_onnx(bundle))
        self.check("opset", "versions that ONNX Runtime reads", lambda: environment.check_opset(bundle))
        loads = (
            "ONNX Runtime loads the model" if manifest.runtime == "onnx" else "its process loads the model"
        )
        try:
            self.check("session", loads, lambda: self._load(bundle, threads, python))
            self.check("signature", "the model's names, dtypes and shapes", lambda: self._signature(bundle))
            self.check("golden", golden, lambda: self._golden(bundle))
            self.check("batch", "the same alone as in a batch", lambda: self._batch(bundle))
            self.check("latency", "measured", lambda: self._latency(bundle))
        finally:
            if self._runtime is not None:
                self._runtime.close()

    @property
    def _session(self) -> Runtime:
        """The open session; a check that uses it needs `session` or one after it."""
        assert self._runtime is not None
        return self._runtime

    def _load(self, bundle: Bundle, threads: int, python: PythonHost) -> str:
        self._runtime, load_ms = measure.load(bundle, threads, python)
        self.numbers["load_ms"] = load_ms
        return f"loaded in {load_ms:.3g} ms with {_count(threads, 'thread')}"

    def _signature(self, bundle: Bundle) -> str:
        signature = bundle.manifest.signature
        check_signature(signature, self._session.inputs, self._session.outputs)
        return f"{_count(len(signature.inputs), 'input')}, {_count(len(signature.outputs), 'output')} agree"

    def _golden(self, bundle: Bundle) -> str:
        try:
            parity = replay(self._session, bundle, self._note_worst)
        except BatchMismatch as error:
            # The answers are right where all rows run as one: `batch` is the check that does not hold.
            whole = replay_whole(self._session, bundle)
            if whole is None:
                raise
            self._mixes_rows, parity = error, whole
            self._note_worst(whole)
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

    def _note_worst(self, parity: Parity) -> None:
        # Noted before the check is judged: rows that do not agree are what its reader looks for.
        self.worst = golden_rows(parity)

    def _batch(self, bundle: Bundle) -> str | Check:
        signature = bundle.manifest.signature
        if not signature.batched:
            reason = (
                "the model has no batch dimension"
                if signature.independent_rows
                else "a row's answer depends on the other rows"
            )
            return skipped("batch", f"{reason}, so requests are never merged")
        if self._mixes_rows is not None:
            raise self._mixes_rows
        parity = replay_alone(self._session, bundle)
        return f"{parity.rows} rows alone and together, largest difference {parity.max_abs_error:.3g}"

    def _latency(self, bundle: Bundle) -> str:
        numbers = measure.latency(self._session, bundle)
        self.numbers.update(numbers)
        return ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())


def failed(name: str, expected: str, error: LadingError | OSError) -> Check:
    """Return the check that `error` ended."""
    if isinstance(error, OSError):
        return Check(name, "failed", expected=expected, found=str(error))
    observation = f"{error.where}: {error.found}" if error.found else error.where
    return Check(
        name, "failed", expected=error.expected or expected, found=observation, hint=error.hint or ""
    )


def skipped(name: str, because: str) -> Check:
    """Return a check that was not made."""
    return Check(name, "skipped", found=because)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
