"""Runs what a bundle holds: with the Python of this process, and in the environment that was built for it.

Both have to answer as the model did where it was packed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lading.bundle import Bundle, Samples
from lading.bundle.formats.v2 import CODE, FILES
from lading.errors import (
    ConversionError,
    ConverterFailed,
    DeadlineExceeded,
    ModelCodeFailed,
    ModelInvalid,
    ModelOutputInvalid,
    ModelProcessEnded,
    ParityLost,
)
from lading.pack.converted_bundle import check_golden
from lading.pack.facts import Facts
from lading.pack.profiles import profile_of
from lading.pack.python_models import PythonModel
from lading.parity import Tolerance, compare, same_bits
from lading.profile import Profile
from lading.runtime.open import load_runtime
from lading.runtime.python.host import Allow, PythonHost
from lading.runtime.python.open import build_environment
from lading.runtime.python.process import ModelProcess, ProcessSettings
from lading.runtime.python.steps import run_around
from lading.signature import Array, Signature

TRY_DEADLINE_S = 600.0
OF_CODE = (ModelCodeFailed, ModelInvalid, ModelOutputInvalid, ModelProcessEnded, DeadlineExceeded)


@dataclass(frozen=True)
class Behaviour:
    """How a model behaves where it was packed: signature, golden samples, and how near answers have to be."""

    signature: Signature
    samples: Samples
    tolerance: Tolerance


def imported_modules(model: PythonModel, behaviour: Behaviour, name: str) -> list[str]:
    """Run what the bundle will hold with the Python of this process; return the modules that it imported.

    Raises `ConverterFailed` if that is not all that the model needs, `ParityLost` if it answers otherwise.
    """
    signature, samples = behaviour.signature, behaviour.samples
    with laid_out(model.files) as folder:
        # The interpreter of training, isolated: it sees its packages, and not the project's folder.
        settings = ProcessSettings(
            name=name,
            interpreter=Path(sys.executable),
            code=folder / CODE if (folder / CODE).is_dir() else None,
            files=folder / FILES,
            entry=model.entry,
            inputs=signature.inputs,
            outputs=signature.outputs,
            steps=model.steps,
            preprocessed=model.core.inputs if model.core is not None else (),
        )
        try:
            process = ModelProcess(settings)
            try:
                process.load(TRY_DEADLINE_S)
                answers = _answers(process, model, samples.inputs)
                modules = process.modules(TRY_DEADLINE_S)
            finally:
                process.close()
        except OF_CODE as error:
            raise ConverterFailed(
                f"`{model.title}`, run on its own",
                expected="code that finds all it needs in the bundle and in installed packages",
                found=error.found or error.message,
                hint="pass more modules in `code`, and what it reads in `files`",
            ) from error
    parity = compare(signature.outputs, samples.outputs, answers, behaviour.tolerance)
    if not parity.holds:
        worst = str(parity.worst[0]) if parity.worst else "other answers"
        raise ParityLost(f"`{model.title}`", expected="the same answers in a process of its own", found=worst)
    return modules


def _answers(process: ModelProcess, model: PythonModel, inputs: Mapping[str, Array]) -> dict[str, Array]:
    core = model.core
    if core is None:
        return process.run(inputs, TRY_DEADLINE_S)

    def ask(
        steps: Sequence[str], values: Mapping[str, Array], outputs: Sequence[str] | None
    ) -> dict[str, Array]:
        return process.run(values, TRY_DEADLINE_S, steps=steps, outputs=outputs)

    # By the lines that a server runs, so that the checks between the steps are the same.
    return run_around(lambda values, _: core.run(values), core.inputs, ask, model.steps, inputs)


@contextmanager
def laid_out(files: Mapping[str, bytes | Path]) -> Iterator[Path]:
    """Write `files` to a temporary folder, as they are in a bundle."""
    with tempfile.TemporaryDirectory(prefix="lading-pack-") as name:
        folder = Path(name)
        (folder / FILES).mkdir()
        for path, content in files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            if isinstance(content, bytes):
                (folder / path).write_bytes(content)
            else:
                shutil.copyfile(content, folder / path)
        yield folder


def replay_in_environment(bundle: Bundle, title: str, wheels: Path | None, facts: Facts) -> Profile | None:
    """Run the golden samples, then the reference data, in the bundle's own environment; return its profile.

    Raises `ParityLost` if the samples do not hold.
    """
    manifest = bundle.manifest
    allow: Allow = "none" if manifest.executes is False else manifest.executes  # type: ignore[assignment]
    try:
        host = PythonHost(allow=allow, wheels=wheels)
        build_environment(bundle, host, on_progress=facts.step)
        facts.step("proving it in its environment")
        runtime = load_runtime(bundle, python=host)
        try:
            samples = bundle.samples()
            answers = runtime.run(samples.inputs)
            parity = check_golden(bundle, title, answers, "its environment")
            if not same_bits(samples.outputs, answers):
                facts.note(f"{title}: in its environment the largest error is {parity.max_abs_error:.3g}")
            return profile_of(bundle, runtime, facts)
        finally:
            runtime.close()
    except ConversionError:
        raise
    except OF_CODE as error:
        raise ParityLost(
            f"`{title}`", expected="to run in its own environment", found=error.message
        ) from error
