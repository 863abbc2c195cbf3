"""A trained model becomes a bundle: converted, proved against its own framework, and written with the proof.

A model that cannot be converted or does not keep parity is refused; nothing is packed that was not compared.
Pushes nothing and serves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lading.bundle import Bundle
from lading.convert.onnx_inputs import BatchAxis
from lading.convert.open import open_model, open_texts
from lading.convert.torch_sizes import OpenAxes
from lading.errors import InvalidSetting
from lading.input_checks.stated_rules import read_checks
from lading.pack.arguments import read_axes, read_metrics, read_tolerance, require
from lading.pack.class_names import Labels, display_names
from lading.pack.converted_bundle import pack_converted
from lading.pack.destination import move_into_place, writing_place
from lading.pack.facts import Facts
from lading.pack.mlflow_flavors import load_flavor, native_flavor, no_native_flavor
from lading.pack.mlflow_folder import MlflowFolder
from lading.pack.mlflow_python import pack_pyfunc
from lading.pack.mlflow_samples import folder_samples
from lading.pack.mlflow_signature import MlflowSignature, compare_outputs, read_signature
from lading.pack.mlflow_sources import is_mlflow, open_mlflow, refuse_bare_folder
from lading.pack.python_bundle import Environment, pack_python
from lading.pack.python_models import Files, OwnCode, is_code
from lading.pack.reference import read_reference
from lading.pack.slices import read_slices
from lading.pack.sources import load_model, read_samples
from lading.pack.stepped_bundle import Around, pack_stepped
from lading.pack.text_settings import Texts
from lading.parity import Tolerance
from lading.ref import check_name

__all__ = ["pack"]

_RUNTIMES = ("auto", "onnx", "python")
_DTYPES = {"auto": ("float32", "float64"), "float32": ("float32",), "float64": ("float64",)}


def pack(  # noqa: PLR0913 - one keyword per fact that a bundle records
    model: Any,
    *,
    name: str = "",
    samples: Any = None,
    reference: Any = None,
    reference_labels: Any = None,
    profile: bool = True,
    checks: str | Path | Mapping[str, Mapping[str, Any]] | None = None,
    slices: str | Sequence[str] = (),
    owner: str = "",
    purpose: str = "",
    labels: Labels | None = None,
    metrics: Mapping[str, float] | None = None,
    description: str = "",
    dtype: str = "auto",
    tolerance: Tolerance | float | None = None,
    golden: Literal["rows", "synthetic"] = "rows",
    batch_axis: Mapping[str, int | None] | str | Sequence[str] = (),
    open_axes: Mapping[str, int | Sequence[int] | Mapping[int, str]] | str | Sequence[str] = (),
    runtime: Literal["auto", "onnx", "python"] = "auto",
    tokenizer: Any = None,
    pooling: Literal["mean", "cls", "last"] | None = None,
    normalize: bool = False,
    steps: Any = None,
    files: Files = (),
    code: Files = (),
    requirements: str | Path | Sequence[str] = "auto",
    wheels: str | Path | None = None,
    trust_types: Sequence[str] = (),
    allow_pickle: bool = False,
    to: str | Path | None = None,
    overwrite: bool = False,
    on_note: Callable[[str], None] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Bundle:
    """Convert `model`, prove it on `samples`, and write the bundle to `to` (``./<name>.bundle``).

    `model` is a fitted model of a framework, the path of an ``.onnx``, ``.pt2`` or ``.keras`` file, a
    SavedModel or a booster's file, a class, function or object that predicts, ``module:object``, or
    ``mlflow:PATH``. `samples` are rows as in training: array, frame, mapping of arrays or file. So is
    `reference`, the profile's training data, with labels or their column; without it the samples are
    (``profile=False``: nothing). `checks` are rules by column or a file, `slices` columns by which metrics
    are also given, `labels` display names, by value or in class order. `batch_axis` says where rows are,
    `open_axes` further open sizes. Code, and with ``runtime="python"`` an object or estimator, runs in Python
    (``dtype="float32"``: with the dtypes of ONNX), in an environment of its `requirements` (or its imports),
    from `wheels` or pip. `files` are what its `load` reads, `code` more modules. `steps` is a `lading.Model`
    around a `model` that becomes ONNX. Raises `ConversionError`, `UsageError`, `DestinationExists`.
    """
    _check_choices(name, dtype, golden, owner, runtime)
    place = writing_place(to := Path(to or f"{name}.bundle"), overwrite=overwrite)
    stated = (name, owner, purpose, description, read_metrics(metrics or {}), read_tolerance(tolerance))
    how = (partial(display_names, labels), golden == "synthetic", dtype, on_note or _quiet, on_step or _quiet)
    facts = Facts(*stated, *how, read_reference(reference, reference_labels, wanted=profile))
    own = OwnCode(files, code, trust_types, allow_pickle=allow_pickle)
    environment = Environment(requirements, None if wheels is None else Path(wheels))
    texts = Texts(load_model(tokenizer), pooling, normalize)
    way = _Way(runtime, steps, own, environment, read_axes(batch_axis, open_axes), labels, texts)
    facts = replace(facts, checks=read_checks(checks), slices=read_slices(slices, profiled=profile))
    return move_into_place(_pack(model, samples, facts, place, way), to)


@dataclass(frozen=True)
class _Way:
    """How a model is to be packed, as `pack` was called."""

    runtime: str
    steps: Any
    own: OwnCode
    environment: Environment
    axes: tuple[BatchAxis, OpenAxes]
    labels: Labels | None
    texts: Texts


def _quiet(_: str) -> None:
    pass


def _pack(model: Any, samples: Any, facts: Facts, place: Path, way: _Way) -> Bundle:
    if is_mlflow(model):
        with open_mlflow(model) as folder:
            return _pack_mlflow(folder, read_samples(samples), facts, place, way)
    refuse_bare_folder(model)
    return _pack_loaded(load_model(model, allow_pickle=way.own.allow_pickle), samples, facts, place, way)


def _pack_loaded(loaded: Any, samples: Any, facts: Facts, place: Path, way: _Way) -> Bundle:
    around = None if way.steps is None else _around(loaded, way)
    if way.texts.belong_to(loaded):
        way.texts.refuse_others(way.runtime, way.steps, way.own, *way.axes)
        return _pack_texts(loaded, read_samples(samples), facts, place, way)
    if way.runtime == "python" or (way.runtime == "auto" and is_code(loaded)):
        return pack_python(loaded, read_samples(samples), facts, place, way.own, way.environment)
    trained = open_model(loaded, *way.axes, labelled=way.labels is not None)
    dtypes = _DTYPES[facts.floats]
    if around is None:
        return pack_converted(trained, read_samples(samples), facts, place, dtypes)
    return pack_stepped(trained, around, read_samples(samples), facts, place, dtypes)


def _pack_texts(model: Any, samples: Any, facts: Facts, place: Path, way: _Way) -> Bundle:
    texts, labelled = way.texts, way.labels is not None
    trained = open_texts(model, texts.tokenizer, texts.pooling, normalize=texts.normalize, labelled=labelled)
    # transformers is installed, as the model shows; `tokenizers` comes with it.
    from lading.pack.text_bundle import pack_texts

    # The model has names for its classes; those that are stated count more.
    names = way.labels if labelled else trained.classes or None
    facts = replace(facts, labels=partial(display_names, names))
    return pack_texts(trained, samples, facts, place, way.environment, _DTYPES[facts.floats])


def _pack_mlflow(folder: MlflowFolder, samples: Any, facts: Facts, place: Path, way: _Way) -> Bundle:
    """Convert the model by its flavor, or pack it as MLflow loads it."""
    signature = read_signature(folder.stated.get("signature"), folder.where)
    flavor = native_flavor(folder)
    if way.runtime == "onnx" and flavor is None:
        raise no_native_flavor(folder)
    in_python = way.runtime == "python" or (way.runtime == "auto" and flavor is None)
    facts = replace(facts, lineage=folder.lineage)
    if way.steps is None:
        # Around steps callers send and get anything else: MLflow knows what is between them.
        samples = folder_samples(folder, samples, signature, facts.note)
        facts = _as_requests(folder, signature, facts)
        facts = replace(facts, expect=partial(compare_outputs, signature, folder.where, facts.note))
    if in_python or flavor is None:
        require(way.steps is None, "`steps`", "a model that becomes ONNX between them", "`python_function`")
        return pack_pyfunc(folder, signature, samples, facts, place, way.own, way.environment)
    return _pack_loaded(load_flavor(folder, flavor, way.own, facts.note), samples, facts, place, way)


def _as_requests(folder: MlflowFolder, signature: MlflowSignature, facts: Facts) -> Facts:
    """Return the facts with reference data as the signature has samples."""
    reference = facts.reference
    if reference.data is None:
        return facts
    rows = folder_samples(folder, reference.data, signature, _quiet)
    return replace(facts, reference=replace(reference, data=rows))


def _around(model: Any, way: _Way) -> Around:
    """Return the steps to put around `model`; raises `InvalidSetting` if that is code itself."""
    require(way.runtime != "python", "`runtime` with `steps`", "`auto` or `onnx`", "`python`")
    if is_code(model):
        raise InvalidSetting(
            "`steps`",
            expected="a model that becomes ONNX between them",
            found=f"the code of `{getattr(model, '__qualname__', type(model).__qualname__)}`",
            hint="give that class `preprocess` and `postprocess` of its own, and pack it without `steps`",
        )
    return Around(load_model(way.steps), way.own, way.environment)


def _check_choices(name: str, dtype: str, golden: str, owner: str, runtime: str) -> None:
    # Not left to Python, whose sentence shows no call.
    if not name or not owner.strip():
        raise InvalidSetting(
            "`pack`",
            expected="a name, and who answers for the model",
            found=" and ".join(
                f"no `{key}`" for key, value in (("name", name), ("owner", owner)) if not value.strip()
            ),
            hint='`lading.pack(model, name="iris", owner="ml@example.com", samples=X)` (on the command line '
            "`--name`, `--owner` and `--samples`)",
        )
    check_name(name)
    require(dtype in _DTYPES, "`dtype`", "one of `auto`, `float32`, `float64`", f"`{dtype}`")
    require(golden in ("rows", "synthetic"), "`golden`", "`rows` or `synthetic`", f"`{golden}`")
    require(runtime in _RUNTIMES, "`runtime`", "one of `auto`, `onnx`, `python`", f"`{runtime}`")
