"""What can be packed to run in Python: a class or function with its code, or an estimator with its file.

Each says how the model answers here, and what of it goes into a bundle. Starts no process, resolves nothing.
"""

from __future__ import annotations

import inspect
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle.formats.v2 import FILES
from lading.bundle.formats.v2 import STEPS as ALL_STEPS
from lading.convert import TrainedModel
from lading.convert.table import Table
from lading.errors import ConverterFailed, InvalidSetting, one_line
from lading.pack.code_files import code_of, code_of_type, imports_of
from lading.pack.stored_estimator import stored
from lading.runtime.python.shim import STEPS, Model, Refusal, caller_of
from lading.signature import Array, Tensor


@dataclass(frozen=True)
class OnnxCore:
    """A model that has become ONNX, to stand between steps: its bytes, its inputs, and how it is run here.

    ``expected_from`` names what computes its answers, ``packages`` the distributions that matter to them.
    """

    model: bytes
    inputs: tuple[Tensor, ...]
    run: Callable[[Mapping[str, Array]], dict[str, Array]]
    expected_from: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class PythonModel:
    """A model, and what a bundle has of it.

    ``answer`` asks it here: for rows of samples and the same rows by input. ``files`` are names in the bundle
    and their content, ``imports`` the top modules that the model itself names. ``columns`` are names of the
    columns of outputs. ``needs_dtypes`` is whether whole numbers among the columns must stay such. ``core``
    is the ONNX model between ``preprocess`` and ``postprocess``, if there is one. ``dependencies`` is whether
    its environment has what the imported packages require, too.
    """

    title: str
    framework: str
    entry: str
    steps: tuple[str, ...]
    files: dict[str, bytes | Path]
    imports: frozenset[str]
    answer: Callable[[Table, Mapping[str, Array]], dict[str, Array]]
    purpose: str = ""
    class_values: tuple[str, ...] = ()
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    needs_dtypes: bool = True
    core: OnnxCore | None = None
    dependencies: bool = True

    def all_steps(self) -> tuple[str, ...]:
        """Return the steps as a manifest has them: with the ONNX model between those of the code."""
        own = {f"code:{step}" for step in self.steps} | ({"onnx"} if self.core is not None else set())
        return tuple(step for step in ALL_STEPS if step in own)


def is_code(model: Any) -> bool:
    """Return whether `model` is a class with `predict`, an instance of `lading.Model`, or a function."""
    if inspect.isclass(model):
        # The class of an estimator is no model: an instance that was fitted is.
        own = hasattr(model, "predict") and not hasattr(model, "get_params")
        return own or issubclass(model, Model)
    return isinstance(model, Model) or inspect.isfunction(model)


def title_of(thing: Any) -> str:
    """Return the name of a class or function, or of the class of an object."""
    is_named = inspect.isclass(thing) or inspect.isfunction(thing)
    return str(thing.__qualname__ if is_named else type(thing).__qualname__)


Files = Sequence[str | Path] | Mapping[str, str | Path]
"""Files that a bundle takes along, by their own names or by the names that they get there."""


@dataclass(frozen=True)
class OwnCode:
    """What comes with a model of its packer's own: files that it loads, further modules, types to trust."""

    files: Files = ()
    code: Files = ()
    trust_types: Sequence[str] = ()
    allow_pickle: bool = False

    def named_files(self) -> dict[str, bytes | Path]:
        """Return the files by their names in the bundle; raises `InvalidSetting`."""
        return {f"{FILES}/{name}": path for name, path in _by_name("file", self.files).items()}

    def modules(self) -> dict[str, Path]:
        """Return the files of the modules by their names; raises `InvalidSetting`."""
        return {name.removesuffix(".py"): path for name, path in _by_name("module", self.code).items()}


def _by_name(kind: str, files: Files) -> dict[str, Path]:
    pairs = files.items() if isinstance(files, Mapping) else [(Path(file).name, file) for file in files]
    taken: dict[str, Path] = {}
    for name, file in pairs:
        path = Path(file)
        if not path.is_file():
            raise InvalidSetting(f"{kind} `{path}`", expected="a file", found="none of that name")
        if name in taken:
            raise InvalidSetting(f"{kind} `{path}`", expected="names that differ", found=f"`{name}` twice")
        taken[name] = path
    return taken


def code_model(model: Any, files: Mapping[str, bytes | Path], own: OwnCode, folder: Path) -> PythonModel:
    """Return a class or function as a model; it is loaded here from `folder`, which has its files.

    Raises `ConverterFailed` if its code cannot be taken along, or it does not load here.
    """
    # Only the class is taken: what an instance holds would have to be pickled.
    thing = type(model) if isinstance(model, Model) else model
    if isinstance(model, Model) and vars(model):
        raise ConverterFailed(
            f"`{type(model).__qualname__}(…)`",
            expected="the class, which loads its files by `load`",
            found="an instance with values of its own",
            hint="pass the class, and what it needs in `files`",
        )
    code = code_of(thing, own.modules())
    title = thing.__qualname__
    loaded = load_here(thing, folder)
    steps = _own_steps(loaded) if inspect.isclass(thing) else ("predict",)

    def answer(_: Table, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return _asked(loaded, steps, dict(arrays), title)

    framework = f"Python {platform.python_version()}"
    return PythonModel(
        title=title,
        framework=framework,
        entry=code.entry,
        steps=steps,
        files={**code.modules, **files},
        imports=imports_of(code.modules),
        answer=answer,
        purpose="prediction",
    )


def load_here(thing: Any, folder: Path) -> Any:
    """Return an object of a class, or a function, once it has loaded its files from `folder`.

    Raises `ConverterFailed`.
    """
    try:
        loaded = thing() if inspect.isclass(thing) else thing
        if hasattr(loaded, "load"):
            loaded.load(folder)
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        where = f"`{thing.__qualname__}`"
        raise ConverterFailed(where, expected="a model that loads here", found=reason) from error
    return loaded


def estimator_model(estimator: Any, own: OwnCode, floats: str) -> tuple[PythonModel, TrainedModel]:
    """Return a fitted estimator as a model: stored by skops, or pickled where that is allowed.

    Its answers are rounded to `floats`, unless that is ``auto``.

    Raises `ConverterFailed`, `ExtraMissing`.
    """
    kept = stored(estimator, trust_types=own.trust_types, allow_pickle=own.allow_pickle, floats=floats)
    files: dict[str, bytes | Path] = dict(kept.files)
    for name in kept.types:
        files.update(code_of_type(name, own.modules()))
    trained = kept.trained
    model = PythonModel(
        title=trained.title,
        framework=trained.framework,
        entry=f"lading:{kept.kind}",
        steps=("predict",),
        files=files,
        imports=kept.imports | imports_of(files),
        answer=lambda table, _: _rounded(trained.outputs(table), floats),
        purpose=trained.purpose,
        class_values=trained.class_values,
        columns=dict.fromkeys(("probabilities", "scores"), trained.class_values),
        needs_dtypes=kept.needs_dtypes,
    )
    return model, trained


def _rounded(answers: dict[str, Array], floats: str) -> dict[str, Array]:
    if floats == "auto":
        return answers
    return {
        name: array.astype(floats) if array.dtype.kind == "f" else array for name, array in answers.items()
    }


def _own_steps(loaded: Any) -> tuple[str, ...]:
    """Return the steps that a class has of its own, in their order."""
    own = [step for step in STEPS if callable(getattr(loaded, step, None))]
    if isinstance(loaded, Model):
        own = [step for step in own if getattr(type(loaded), step) is not getattr(Model, step)]
    if "predict" not in own:
        raise ConverterFailed(
            f"`{type(loaded).__qualname__}`", expected="a method `predict`", found=", ".join(own) or "none"
        )
    return tuple(own)


def _asked(loaded: Any, steps: tuple[str, ...], arrays: dict[str, Array], title: str) -> dict[str, Array]:
    """Pass arrays through the steps, as a model process does."""
    answer: Any = arrays
    try:
        for step in steps:
            call = getattr(loaded, step, loaded)
            answer = (
                call(answer) if isinstance(loaded, Model) else caller_of(call, tuple(arrays), title)(answer)
            )
    except Refusal as refusal:
        raise ConverterFailed(refusal.where, expected=refusal.expected, found=refusal.found) from None
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ConverterFailed(f"`{title}`", expected="an answer to the samples", found=reason) from error
    return answers_by_name(answer)


def answers_by_name(answer: Any) -> dict[str, Array]:
    """Return what code has answered as arrays: by its own names, or as ``value``."""
    if not isinstance(answer, Mapping):
        answer = {"value": answer}
    return {str(name): _array(value) for name, value in answer.items()}


def _array(value: Any) -> Array:
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "US" else array
