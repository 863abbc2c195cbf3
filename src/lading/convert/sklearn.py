"""scikit-learn estimators and pipelines: their own answers, and their ONNX form through skl2onnx.

Answers always come from the estimator itself. Nothing is fitted, and no parity is judged here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from lading.convert import Conversion, Plan, graph, inputs, outputs
from lading.convert import sequence_outputs as maps
from lading.convert.sklearn_repairs import quiet_converters, repaired_converters
from lading.convert.table import Table, make_table
from lading.errors import (
    ConversionError,
    ConverterFailed,
    ConverterMissing,
    SamplesRefused,
    missing_extra,
    one_line,
)
from lading.signature import Array, Signature

# Read by every ONNX Runtime since 1.14 and by every skl2onnx since 1.15; nothing newer is needed.
_OPSET = 18
_ML_OPSET = 3
_HEAD_ROWS = 7


def is_sklearn(model: Any) -> bool:
    """Return whether `model` is an estimator; imports nothing."""
    return any(kind.__module__.partition(".")[0] == "sklearn" for kind in type(model).__mro__)


class SklearnModel:
    """A fitted estimator or pipeline; satisfies `lading.convert.Trained`."""

    def __init__(self, model: Any) -> None:
        import sklearn

        self.model = model
        self.title = _title(model)
        self.framework = f"scikit-learn {sklearn.__version__}"
        self.expected_from = self.framework
        self.packages: tuple[str, ...] = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "scipy")
        self._check_fitted()
        self.role = _role(model)
        self.class_values = _class_values(model) if self.role == "classifier" else ()
        self.purpose = {"classifier": "classification", "regressor": "regression"}.get(self.role, self.role)

    def table(self, samples: Any) -> Table:
        """Read samples; columns are chosen and named as in training where training had names."""
        if samples is None:
            raise SamplesRefused(
                f"samples of `{self.title}`",
                expected="rows like those that the model was trained on",
                found="none",
                hint="give samples=X_test: the proof is computed from them",
            )
        table = make_table(samples, self.title)
        if table.kind == "named":
            table = _only_array(table, self.title)
        names = getattr(self.model, "feature_names_in_", None)
        return table if names is None else _with_names(table, [str(name) for name in names], self.title)

    def outputs(self, table: Table) -> dict[str, Array]:
        """Let the estimator answer; rows first, texts as object arrays of ``str``."""
        rows = table.framework_rows()
        if table.kind == "frame" and not _wants_frame(self.model):
            rows = rows.to_numpy()
        try:
            found = _answers(self.model, self.role, rows)
        except ConversionError:
            raise
        except Exception as error:
            raise SamplesRefused(
                f"samples of `{self.title}`",
                expected="rows that the estimator itself answers",
                found=f"{type(error).__name__}: {one_line(error)}",
            ) from error
        plain = {name: _plain(value, table.rows, name, self.title) for name, value in found.items()}
        if "label" in plain and plain["label"].ndim > 1 and not isinstance(self.model.classes_, list):
            self.class_values = ()  # classes_ of a multi-label model are its targets
        return plain

    def plans(self, table: Table, dtypes: tuple[str, ...]) -> Iterator[Plan]:
        """Return the ways to convert: forms of the inputs, each in every float dtype."""
        for dtype, form in inputs.forms(table, dtypes):
            yield Plan(dtype, form.title, partial(self._convert, form))

    def _convert(self, form: inputs.Form, table: Table, expected: dict[str, Array]) -> Conversion:
        model = self._to_onnx(form)
        maps.rewrite_outputs(model, self.title)
        inner = [value.name for value in model.graph.input]
        graph.rename_inner(model, {})
        names = {fed.name: f"/{own}" for fed, own in zip(form.fed, inner, strict=True)}
        inputs.attach(model, form, names)
        own = [value.name for value in model.graph.output]
        head = table.take(np.arange(min(table.rows, _HEAD_ROWS)))
        run = graph.evaluator(self.title, graph.write(_copy(model)))
        found = run(Signature(form.inputs, ()).cast(head.feed(form.inputs)))
        pairs = self._pairs(own, expected)
        answers = {name: array[: head.rows] for name, array in expected.items()}
        tensors = outputs.shape_like(model, self.title, pairs, found, answers, self._columns(answers))
        graph.rename_inner(model, _final_names(form, pairs))
        return Conversion(graph.write(model), Signature(form.inputs, tensors))

    def _to_onnx(self, form: inputs.Form) -> Any:
        skl2onnx = _import_skl2onnx()
        kinds = _kinds()
        types = [(fed.name, kinds[fed.dtype]([None, *fed.width])) for fed in form.fed]
        # A few converters compare the opset as a number and fail on the other form, which the rest needs.
        for opset in ({"": _OPSET, "ai.onnx.ml": _ML_OPSET}, _OPSET):
            try:
                with quiet_converters():
                    return skl2onnx.convert_sklearn(
                        _without_search(self.model),
                        initial_types=types,
                        name="model",
                        options=_options(self.model),
                        target_opset=opset,
                        custom_conversion_functions=repaired_converters(),
                    )
            except TypeError as error:
                if isinstance(opset, int):
                    raise _failure(self.title, error) from error
            except Exception as error:
                raise _failure(self.title, error) from error
        raise AssertionError

    def _pairs(self, own: list[str], expected: dict[str, Array]) -> list[tuple[str, str]]:
        wanted = (
            [name for name in expected if name not in _OPTIONAL] if len(own) < len(expected) else expected
        )
        if len(own) < len(wanted):
            raise ConverterFailed(
                f"`{self.title}`", expected=f"outputs {', '.join(wanted)}", found=f"{len(own)} outputs"
            )
        return list(zip(wanted, own, strict=False))

    def _columns(self, expected: dict[str, Array]) -> dict[str, tuple[str, ...]]:
        columns: dict[str, tuple[str, ...]] = {
            "probabilities": self.class_values,
            "features": _feature_names(self.model),
        }
        if "label" in expected and getattr(_last(self.model), "decision_function_shape", "ovr") != "ovo":
            columns["scores"] = self.class_values
        if self.role == "mixture":
            columns["probabilities"] = tuple(str(at) for at in range(expected["probabilities"].shape[-1]))
        return columns

    def _check_fitted(self) -> None:
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        try:
            check_is_fitted(self.model)
        except NotFittedError:
            hint = "call fit first, then pack"
            raise ConverterFailed(
                f"`{self.title}`", expected="a fitted estimator", found="one that was never fitted", hint=hint
            ) from None
        except TypeError:
            kind = type(self.model).__name__
            raise ConverterMissing(
                f"`{kind}`", expected="an estimator instance", found=f"`{self.model!r}`"
            ) from None


_OPTIONAL = ("distances",)


def _role(model: Any) -> str:
    """Say which answers a model has: what `predict` means, else `transform`."""
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

    if hasattr(model, "predict"):
        checks = (
            ("classifier", is_classifier),
            ("regressor", is_regressor),
            ("outlier detection", is_outlier_detector),
            ("clustering", is_clusterer),
        )
        for role, check in checks:
            if check(model):
                return role
        if hasattr(model, "predict_proba"):
            return "mixture"
    if hasattr(model, "transform"):
        return "transformation"
    raise ConverterMissing(
        f"`{_title(model)}`",
        expected="an estimator that answers for new rows with `predict` or `transform`",
        found="neither",
        hint="train a classifier on its labels, and pack that" if hasattr(model, "labels_") else None,
    )


def _answers(model: Any, role: str, rows: Any) -> dict[str, Any]:
    match role:
        case "classifier":
            found = {"label": model.predict(rows)}
            if hasattr(model, "predict_proba"):
                found["probabilities"] = model.predict_proba(rows)
            elif hasattr(model, "decision_function"):
                found["scores"] = model.decision_function(rows)
            return found
        case "regressor":
            return {"value": model.predict(rows)}
        case "outlier detection":
            return {"label": model.predict(rows), "scores": model.decision_function(rows)}
        case "clustering":
            found = {"label": model.predict(rows)}
            return {**found, "distances": model.transform(rows)} if hasattr(model, "transform") else found
        case "mixture":
            return {"label": model.predict(rows), "probabilities": model.predict_proba(rows)}
        case _:
            return {"features": model.transform(rows)}


def _plain(value: Any, rows: int, name: str, title: str) -> Array:
    """Make one array ``[rows, …]`` of what an estimator gave: sparse, a list per target, whole floats."""
    if isinstance(value, list):
        shapes = {np.shape(one) for one in value}
        if len(shapes) > 1:
            hint = "pack one classifier per target"
            expected, found = "targets with the same number of classes", f"shapes {sorted(shapes)}"
            raise ConverterFailed(f"output `{name}` of `{title}`", expected=expected, found=found, hint=hint)
        value = np.stack(value, axis=1)  # [rows, targets, classes]
    array = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    if array.ndim == 0 or len(array) != rows:
        found = f"shape {list(array.shape)}"
        raise ConverterFailed(f"output `{name}` of `{title}`", expected=f"{rows} rows", found=found)
    if name == "label" and array.dtype.kind == "f" and (array == np.round(array)).all():
        return array.astype(np.int64)
    if array.dtype.kind in "OUS":
        return array.astype(str).astype(object)
    return array


def _class_values(model: Any) -> tuple[str, ...]:
    """Return the texts of the classes in column order; of several targets only where all agree."""
    classes = getattr(model, "classes_", None)
    if classes is None or getattr(_last(model), "multilabel_", False):
        return ()
    if isinstance(classes, list):
        texts = {tuple(_class_text(value) for value in one) for one in classes}
        return texts.pop() if len(texts) == 1 else ()
    return tuple(_class_text(value) for value in np.asarray(classes))


def _class_text(value: Any) -> str:
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _feature_names(model: Any) -> tuple[str, ...]:
    try:
        return tuple(str(name) for name in model.get_feature_names_out())
    except (AttributeError, ValueError, NotImplementedError, TypeError):
        return ()  # names are a courtesy: many transformers know none


def _last(model: Any) -> Any:
    """Return the estimator that answers in the end: of a pipeline the last step, of a search the best one."""
    if hasattr(model, "best_estimator_"):
        return _last(model.best_estimator_)
    return _last(model.steps[-1][1]) if hasattr(model, "steps") else model


def _without_search(model: Any) -> Any:
    """Return the model with each search in its place replaced by the best estimator that it found."""
    if hasattr(model, "best_estimator_"):
        return _without_search(model.best_estimator_)
    if not hasattr(model, "steps"):
        return model
    steps = [(name, _without_search(step)) for name, step in model.steps]
    same = all(new is old for (_, new), (_, old) in zip(steps, model.steps, strict=True))
    return model if same else type(model)(steps)


def _title(model: Any) -> str:
    name = type(model).__name__
    if hasattr(model, "best_estimator_"):
        return f"{name}({_title(model.best_estimator_)})"
    if hasattr(model, "steps"):
        return f"{name}({', '.join(_title(step) for _, step in model.steps)})"
    return name if not isinstance(model, str) else model


def _options(model: Any) -> dict[Any, dict[str, Any]]:
    """Ask for plain tensors, and for scores where there are no probabilities, if the converter can."""
    from skl2onnx._supported_operators import _get_sklearn_operator_name
    from skl2onnx.common._registration import get_converter
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    last = _last(model)
    # Everywhere the same lower case: the default, en_US.UTF-8, is missing in most containers.
    texts = {kind: {"locale": "C.UTF-8"} for kind in (CountVectorizer, TfidfVectorizer)}
    try:
        allowed = get_converter(_get_sklearn_operator_name(type(last))).get_allowed_options() or {}
    except (ValueError, RuntimeError, AttributeError):
        return texts
    wanted = {"zipmap": False}
    if not hasattr(last, "predict_proba"):
        wanted["raw_scores"] = True
    return {**texts, id(last): {name: value for name, value in wanted.items() if name in allowed}}


def _kinds() -> dict[str, Any]:
    from skl2onnx.common import data_types as kinds

    return {
        "float32": kinds.FloatTensorType,
        "float64": kinds.DoubleTensorType,
        "int64": kinds.Int64TensorType,
        "string": kinds.StringTensorType,
    }


def _final_names(form: inputs.Form, pairs: list[tuple[str, str]]) -> dict[str, str]:
    names = {tensor.name: tensor.name for tensor in form.inputs}
    for name, _ in pairs:
        if name in names:
            raise SamplesRefused(
                f"column `{name}`",
                expected="a name that is not an output's",
                found=f"output `{name}` as well",
                hint="rename the column in training",
            )
        names[outputs.final_name(name)] = name
    return names


def _only_array(table: Table, title: str) -> Table:
    arrays = table.arrays
    if len(arrays) != 1 and "X" not in arrays:
        found = ", ".join(f"`{name}`" for name in arrays)
        raise SamplesRefused(f"samples of `{title}`", expected="one array, or one called `X`", found=found)
    return Table("array", {"X": arrays.get("X", next(iter(arrays.values())))})


def _with_names(table: Table, names: list[str], title: str) -> Table:
    """Return the columns of training, in its order; columns that training did not have are left out."""
    if table.kind == "frame":
        missing = [name for name in names if name not in table.arrays]
        if missing:
            found = ", ".join(f"`{name}`" for name in table.arrays)
            raise SamplesRefused(f"samples of `{title}`", expected=f"column `{missing[0]}`", found=found)
        arrays = {name: table.arrays[name] for name in names}
        return Table("frame", arrays, {name: table.pandas_dtypes[name] for name in names})
    array = table.arrays["X"]
    if array.ndim != 2 or array.shape[1] != len(names):
        found = f"shape {list(array.shape)}"
        raise SamplesRefused(f"samples of `{title}`", expected=f"{len(names)} columns", found=found)
    arrays = {name: array[:, at] for at, name in enumerate(names)}
    return Table("frame", arrays, dict.fromkeys(names, array.dtype))


def _wants_frame(model: Any) -> bool:
    return hasattr(model, "feature_names_in_")


def _import_skl2onnx() -> Any:
    try:
        import skl2onnx
    except ImportError as error:
        raise missing_extra("skl2onnx", "pack", error) from None
    return skl2onnx


def _failure(title: str, error: Exception) -> ConverterFailed | ConverterMissing:
    if type(error).__name__ in ("MissingShapeCalculator", "MissingConverter"):
        kind = re.search(r"<class '([^']+)'>", str(error))
        found = f"none for `{kind.group(1)}`" if kind else "none"
        return ConverterMissing(f"`{title}`", expected="a converter of skl2onnx", found=found, hint=_HINT)
    found = f"{type(error).__name__}: {one_line(error.__cause__ or error)}"
    return ConverterFailed(f"`{title}`", expected="skl2onnx to convert it", found=found, hint=_HINT)


_HINT = "docs/reference/scikit-learn.md lists the estimators that can be packed"


def _copy(model: Any) -> Any:
    copy = type(model)()
    copy.CopyFrom(model)
    return copy
