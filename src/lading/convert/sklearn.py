"""scikit-learn estimators and pipelines: their own answers, and their ONNX form through skl2onnx.

Expected outputs always come from the estimator itself. Fits nothing and judges no parity.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import skl2onnx
import sklearn
from skl2onnx.common import data_types
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from lading.convert import Conversion, Plan, TrainedModel, graph, inputs, outputs
from lading.convert.frame_categories import frame_categories, with_frame_codes
from lading.convert.packages import BOOSTERS
from lading.convert.probabilities import keep_inside
from lading.convert.sequence_outputs import rewrite_outputs
from lading.convert.sklearn_added import added_converters
from lading.convert.sklearn_categories import with_codes_apart
from lading.convert.sklearn_repairs import converter_of, quiet_converters, repaired_converters
from lading.convert.sklearn_words import known_categories, known_words
from lading.convert.table import Table, make_table
from lading.convert.undecided import decided_rows
from lading.errors import (
    ConversionError,
    ConverterFailed,
    ConverterMissing,
    InputError,
    SamplesRefused,
    one_line,
)
from lading.signature import USUAL_BOUND, Array, Signature, bound_of

# Read by every ONNX Runtime since 1.14 and by every skl2onnx since 1.15; nothing newer is needed.
_OPSET = 18
_ML_OPSET = 3
_HEAD_ROWS = 7  # enough to see the shapes of the graph's outputs
_OPTIONAL_OUTPUTS = ("distances",)
_TENSOR_TYPES = {
    "float32": data_types.FloatTensorType,
    "float64": data_types.DoubleTensorType,
    "int64": data_types.Int64TensorType,
    "string": data_types.StringTensorType,
}
_PACKAGES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "scipy")
# What packs in the place of what does not, by the name in skl2onnx's message.
_INSTEAD = {
    "HashingVectorizer": "use TfidfVectorizer(max_features=...): hashed columns would be dense",
}
_OF_DICTIONARIES = ("FeatureHasher", "DictVectorizer")
_HINT = "use another estimator in its place, or compute it before, in training and in requests"


class SklearnModel:
    """A fitted estimator or pipeline; satisfies `lading.convert.TrainedModel`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.title = _title(model)
        self.framework = _framework(model)
        self.expected_from = self.framework
        self.packages: tuple[str, ...] = (*_PACKAGES, *_booster_packages(model))
        self._check_fitted()
        self.frame = frame_categories(model)
        self.role = _role(model)
        self.class_values = _class_values(model) if self.role == "classifier" else ()
        self.purpose = {"classifier": "classification", "regressor": "regression", "ranker": "ranking"}.get(
            self.role, self.role
        )

    def table(self, samples: Any) -> Table:
        """Read samples; columns are chosen and named as in training where training had names."""
        if samples is None:
            raise SamplesRefused(
                f"samples of `{self.title}`",
                expected="rows like those that the model was trained on",
                found="none",
                hint="pass `--samples FILE` (`samples=X_test` in Python): the proof is computed from them",
            )
        names = _column_names(self.model)
        used = None if names is None else _used_columns(self.model, names)
        table = make_table(
            samples, self.title, used, blank=self.frame is not None and self.frame.takes_missing
        )
        if table.kind == "named":
            table = _only_array(table, self.title)
        if names is not None and used is not None:
            table = _with_names(table, names, used, self.title)
        words, categories = known_words(self.model, table), known_categories(self.model, table)
        table = replace(table, words=words, categories=categories)
        return table if self.frame is None else self.frame.read(table, self.title)

    def outputs(self, table: Table) -> dict[str, Array]:
        """Compute the estimator's own answers; rows first, texts as object arrays of ``str``."""
        if self.frame is not None:
            self.frame.check(table, self.title)
        rows = table.framework_rows()
        # An estimator that was fitted without column names warns if it gets some.
        if table.kind == "frame" and _column_names(self.model) is None:
            rows = rows.to_numpy()
        try:
            answers = {name: getattr(self.model, method)(rows) for name, method in methods_of(self).items()}
            answers = _flat_labels(self.model, answers)
        except ConversionError:
            raise
        except Exception as error:
            of_dictionaries = any(name in self.title for name in _OF_DICTIONARIES)
            reason = "an estimator that takes a dictionary for each row, where rows have columns"
            raise SamplesRefused(
                f"samples of `{self.title}`",
                expected="rows that the estimator itself answers",
                found=reason if of_dictionaries else f"{type(error).__name__}: {one_line(error)}",
                hint="use a OneHotEncoder in its place" if of_dictionaries else _hint_of_texts(table),
            ) from error
        arrays = {name: _plain(value, table.rows, name, self.title) for name, value in answers.items()}
        if "label" in arrays and arrays["label"].ndim > 1 and not isinstance(self.model.classes_, list):
            self.class_values = ()  # classes_ of a multi-label model are its targets
        return arrays

    def plans(self, table: Table, dtypes: tuple[str, ...]) -> Iterator[Plan]:
        """Return the ways to convert: forms of the inputs, each in every float dtype."""
        for dtype, form in inputs.forms(table, dtypes):
            yield Plan(dtype, form.title, partial(self._convert, form))

    def other_calls(self, table: Table) -> Iterator[tuple[str, Table]]:  # noqa: ARG002
        """Return nothing: rows have one size."""
        return iter(())

    def parts(self) -> Iterator[tuple[str, TrainedModel]]:
        """Return each step of a pipeline with the pipeline up to it."""
        pipeline = _without_search(self.model)
        if not hasattr(pipeline, "steps"):
            return
        for count, (name, step) in enumerate(pipeline.steps, start=1):
            for inner, restricted in _restricted(step):
                steps = [*pipeline.steps[: count - 1], (name, restricted)]
                yield f"`{name}` ({_title(step)}), in it {inner}", SklearnModel(type(pipeline)(steps))
            if step not in (None, "passthrough"):
                whole = count == len(pipeline.steps)
                part = self if whole else SklearnModel(type(pipeline)(pipeline.steps[:count]))
                yield f"`{name}` ({_title(step)})", part

    def _convert(self, form: inputs.Form, table: Table, expected: dict[str, Array]) -> Conversion:
        model = self._to_onnx(form, table)
        rewrite_outputs(model, self.title)
        inner = [value.name for value in model.graph.input]
        # Every name of skl2onnx's becomes an inner one, so that the signature's can be any.
        graph.rename_inner(model, {})
        names = {fed.name: f"/{own}" for fed, own in zip(form.fed, inner, strict=True)}
        inputs.attach(model, form, names)
        own = [value.name for value in model.graph.output]
        pairs = self._pairs(own, expected)
        for name, value in pairs:
            if name == "probabilities":
                keep_inside(model, value)
        # The graph is run as skl2onnx made it: only its answers show the shapes of its outputs.
        written = graph.write(graph.copy_of(model))
        run = graph.evaluator(self.title, written)
        feed = self._feed(form, table)
        head = np.flatnonzero(decided_rows(written, run, feed))[:_HEAD_ROWS]
        answers = run({name: array[head] for name, array in feed.items()})
        expected_head = {name: array[head] for name, array in expected.items()}
        columns = self._columns(expected_head)
        tensors = outputs.shape_like(model, self.title, pairs, answers, expected_head, columns)
        graph.rename_inner(model, _final_names(form, pairs))
        signature = Signature(form.inputs, tensors)
        return Conversion(graph.write(model), signature, tuple(_blank_notes(table)))

    def _feed(self, form: inputs.Form, table: Table) -> dict[str, Array]:
        try:
            return Signature(form.inputs, ()).cast(table.feed(form.inputs))
        except InputError as error:
            # Of this form: one of float64 may hold them.
            raise ConverterFailed(error.where, expected=error.expected, found=error.found) from error

    def _to_onnx(self, form: inputs.Form, table: Table) -> Any:
        bound = max(map(bound_of, _floats(table)), default=USUAL_BOUND)
        types = [(fed.name, _TENSOR_TYPES[fed.dtype]([None, *fed.width])) for fed in form.fed]
        whole = with_frame_codes(with_codes_apart(_without_search(self.model)), table, self.title)
        # The form by domain is the one that most need; a few converters compare it as a number and raise.
        for opset in ({"": _OPSET, "ai.onnx.ml": _ML_OPSET}, _OPSET):
            try:
                with quiet_converters(), added_converters(bound) as guards:
                    return skl2onnx.convert_sklearn(
                        whole,
                        initial_types=types,
                        name="model",
                        options=_options(whole),
                        target_opset=opset,
                        custom_conversion_functions={
                            kind: guards.around(convert) for kind, convert in repaired_converters().items()
                        },
                    )
            except ConversionError:
                raise
            except TypeError as error:
                if isinstance(opset, int):
                    raise _failure(self.title, error) from error
            except Exception as error:
                raise _failure(self.title, error) from error
        raise AssertionError

    def _pairs(self, own: list[str], expected: dict[str, Array]) -> list[tuple[str, str]]:
        """Return (expected name, graph's name) of each output; skl2onnx keeps the estimator's order."""
        names = list(expected)
        if len(own) < len(names):
            names = [name for name in names if name not in _OPTIONAL_OUTPUTS]
        if len(own) < len(names):
            raise ConverterFailed(
                f"`{self.title}`", expected=f"outputs {', '.join(names)}", found=f"{len(own)} outputs"
            )
        return list(zip(names, own, strict=False))

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


def _framework(model: Any) -> str:
    """Return the package that answers for a model, and its version: scikit-learn for its pipelines."""
    inner = _without_search(model)
    packages = [kind.__module__.partition(".")[0] for kind in type(getattr(inner, "native", inner)).__mro__]
    package = next((package for package in packages if package in BOOSTERS), None)
    return (
        f"{package} {sys.modules[package].__version__}" if package else f"scikit-learn {sklearn.__version__}"
    )


def _booster_packages(model: Any) -> tuple[str, ...]:
    """Return the distributions of the boosters that a model is or has."""
    parts = [model, getattr(model, "native", None)]
    parts += model.get_params(deep=True).values() if hasattr(model, "get_params") else []
    packages = {type(part).__module__.partition(".")[0] for part in parts}
    return tuple(
        name for package, known in BOOSTERS.items() if package in packages for name in known.distributions
    )


def _restricted(step: Any) -> Iterator[tuple[str, Any]]:
    """Return each transformer of a ColumnTransformer, and the ColumnTransformer with that one alone."""
    fitted = getattr(step, "transformers_", ())
    for name, transformer, columns in fitted:
        if len(fitted) > 1 and not isinstance(transformer, str):
            alone = copy.copy(step)
            alone.transformers_ = [(name, transformer, columns)]
            yield f"`{name}` ({_title(transformer)})", alone


def _role(model: Any) -> str:
    """Return what `predict` of the model means, or "transformation" if it has none."""
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
        if type(model).__name__.endswith("Ranker"):  # scikit-learn has no name for it
            return "ranker"
    if hasattr(model, "transform"):
        return "transformation"
    if hasattr(model, "score_samples"):
        return "density"
    reason, hint = _why_silent(model)
    raise ConverterMissing(
        f"`{_title(model)}`",
        expected="an estimator that answers for new rows, with `predict`, `transform` or `score_samples`",
        found=reason,
        hint=hint,
    )


def _why_silent(model: Any) -> tuple[str, str | None]:
    """Return why an estimator has no answer for a new row, and what to pack instead."""
    if getattr(model, "novelty", None) is False:
        return "`novelty=False`, which judges the rows of training only", "fit it with `novelty=True`"
    if hasattr(model, "kneighbors"):
        hint = "pack a KNeighborsClassifier, KNeighborsRegressor or KNeighborsTransformer"
        return "`kneighbors`, which names rows of training", hint
    if hasattr(model, "labels_") or hasattr(model, "row_labels_"):
        hint = "train a classifier on its labels, and pack that"
        return "`fit` only, which groups the rows of training", hint
    if hasattr(model, "embedding_"):
        hint = "use PCA, Isomap or another estimator with `transform`"
        return "`fit_transform` only, which places the rows of training", hint
    if hasattr(model, "covariance_"):
        hint = "pack an EllipticEnvelope: it tells outliers by a covariance"
        return "a covariance of the rows of training", hint
    return "none of them", None


def methods_of(trained: SklearnModel) -> dict[str, str]:
    """Return the method that gives each output of an estimator."""
    model = trained.model
    match trained.role:
        case "classifier":
            others = (("probabilities", "predict_proba"), ("scores", "decision_function"))
            score = next(((name, method) for name, method in others if hasattr(model, method)), None)
            return {"label": "predict"} | ({score[0]: score[1]} if score else {})
        case "regressor" | "ranker":
            return {"value": "predict"}
        case "outlier detection":
            return {"label": "predict", "scores": "decision_function"}
        case "clustering":
            return {"label": "predict"} | ({"distances": "transform"} if hasattr(model, "transform") else {})
        case "mixture":
            return {"label": "predict", "probabilities": "predict_proba"}
        case "density":
            return {"scores": "score_samples"}
        case _:
            return {"features": "transform"}


def _hint_of_texts(table: Table) -> str | None:
    """Return how texts among the columns of samples get into a model that takes numbers; None without any."""
    texts = [name for name, array in table.arrays.items() if array.dtype.kind == "O"]
    if table.kind != "frame" or not texts or len(texts) == len(table.arrays):
        return None
    encoder = f"make_column_transformer((OneHotEncoder(), {texts[:3]}), remainder='passthrough')"
    listed = ", ".join(f"`{name}`" for name in texts[:3])
    return f"texts in {listed}: pass samples without them, or fit `make_pipeline({encoder}, …)`"


def _flat_labels(model: Any, answers: dict[str, Any]) -> dict[str, Any]:
    """Return one label a row as one, where CatBoost gives a column of them."""
    if "label" not in answers or isinstance(getattr(model, "classes_", []), list):
        return answers
    label = np.asarray(answers["label"])
    return {**answers, "label": label.ravel()} if label.ndim == 2 and label.shape[1] == 1 else answers


def _plain(value: Any, rows: int, name: str, title: str) -> Array:
    """Make one array ``[rows, …]`` of an estimator's answer: sparse, a list per target, whole floats."""
    if isinstance(value, list):
        shapes = {np.shape(of_target) for of_target in value}
        if len(shapes) > 1:
            raise ConverterFailed(
                f"output `{name}` of `{title}`",
                expected="targets with the same number of classes",
                found=f"shapes {sorted(shapes)}",
                hint="pack one classifier per target",
            )
        value = np.stack(value, axis=1)  # [rows, targets, classes]
    array = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    if array.ndim == 0 or len(array) != rows:
        count = len(array) if array.ndim else "no"
        raise ConverterFailed(
            f"output `{name}` of `{title}`",
            expected=f"an answer for each of {rows} rows",
            found=f"{count} rows, in the shape {list(array.shape)}",
        )
    if 0 in array.shape[1:]:
        raise ConverterFailed(
            f"output `{name}` of `{title}`",
            expected="at least one column",
            found=f"shape {list(array.shape)}",
            hint="there is nothing to serve: leave the step out, or fit it on rows that give it columns",
        )
    # Class values like 1.0 and 2.0: scikit-learn keeps the dtype of the target, ONNX has int64 labels.
    if name == "label" and array.dtype.kind == "f" and (array == np.round(array)).all():
        return array.astype(np.int64)
    if array.dtype.kind in "OUS":
        return array.astype(str).astype(object)
    return array


def _class_values(model: Any) -> tuple[str, ...]:
    """Return the texts of the classes in column order; of several targets only if all agree."""
    classes = getattr(model, "classes_", None)
    if classes is None or getattr(_last(model), "multilabel_", False):
        return ()
    if isinstance(classes, list):
        texts = {tuple(_class_text(value) for value in of_target) for of_target in classes}
        return texts.pop() if len(texts) == 1 else ()
    return tuple(_class_text(value) for value in np.asarray(classes))


def _class_text(value: Any) -> str:
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _feature_names(model: Any) -> tuple[str, ...]:
    try:
        return tuple(str(name) for name in model.get_feature_names_out())
    except (AttributeError, ValueError, NotImplementedError, TypeError):
        return ()  # names are optional: many transformers know none


def _last(model: Any) -> Any:
    """Return the estimator that answers: of a pipeline the last step, of a search the best estimator."""
    if hasattr(model, "best_estimator_"):
        return _last(model.best_estimator_)
    return _last(model.steps[-1][1]) if hasattr(model, "steps") else model


def _without_search(model: Any) -> Any:
    """Return the model with each search replaced by its best estimator."""
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
    """Return skl2onnx's options: plain tensors, and scores if there are no probabilities."""
    last = _last(model)
    try:
        allowed = converter_of(type(last)).get_allowed_options() or {}
    except (ValueError, RuntimeError, AttributeError):
        return {}
    options = {"zipmap": False}
    if not hasattr(last, "predict_proba"):
        options["raw_scores"] = True
    return {id(last): {name: value for name, value in options.items() if name in allowed}}


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


def _blank_notes(table: Table) -> Iterator[str]:
    if table.blank:
        columns = ", ".join(f"`{name}`" for name in sorted(table.blank))
        yield f"the empty text stands for a missing value in {columns}"


def _floats(table: Table) -> list[Array]:
    return [array for array in table.arrays.values() if array.dtype.kind == "f"]


def _only_array(table: Table, title: str) -> Table:
    arrays = table.arrays
    if len(arrays) != 1 and "X" not in arrays:
        names = ", ".join(f"`{name}`" for name in arrays)
        raise SamplesRefused(f"samples of `{title}`", expected="one array, or one called `X`", found=names)
    return Table("array", {"X": arrays.get("X", next(iter(arrays.values())))})


def _used_columns(model: Any, names: list[str]) -> list[str]:
    """Return the columns of training without those that a first ColumnTransformer drops, if it has names."""
    first = _without_search(model)
    while hasattr(first, "steps"):
        first = first.steps[0][1]
    used: set[str] = set()
    for _, transformer, columns in getattr(first, "transformers_", ()):
        if isinstance(transformer, str) and transformer == "drop":
            continue
        listed = [columns] if isinstance(columns, str) else columns
        # Places, slices and masks count the columns: none may be left out.
        if isinstance(listed, slice) or not all(isinstance(name, str) for name in listed):
            return names
        used |= set(listed)
    return [name for name in names if name in used] or names


def _with_names(table: Table, names: list[str], used: list[str], title: str) -> Table:
    """Return the `used` columns in the order of training; what it dropped or did not have is left out."""
    if table.kind == "frame":
        missing = [name for name in used if name not in table.arrays]
        if missing:
            present = ", ".join(f"`{name}`" for name in table.arrays)
            raise SamplesRefused(f"samples of `{title}`", expected=f"column `{missing[0]}`", found=present)
        arrays = {name: table.arrays[name] for name in used}
        dtypes = {name: table.pandas_dtypes[name] for name in used}
        return replace(table, arrays=arrays, pandas_dtypes=dtypes)
    array = table.arrays["X"]
    if array.ndim != 2 or array.shape[1] != len(names):
        raise SamplesRefused(
            f"samples of `{title}`", expected=f"{len(names)} columns", found=f"shape {list(array.shape)}"
        )
    arrays = {name: array[:, at] for at, name in enumerate(names) if name in used}
    return Table("frame", arrays, dict.fromkeys(arrays, array.dtype))


def _column_names(model: Any) -> list[str] | None:
    """Return the names of the columns of training; None if they had none."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        first = _without_search(model)
        while hasattr(first, "steps"):
            first = first.steps[0][1]
        names = getattr(first, "feature_names_", None)  # as CatBoost has them: numbers if there were none
        if names is None or list(names) == [str(at) for at in range(len(names))]:
            return None
    return [str(name) for name in names]


def _failure(title: str, error: Exception) -> ConverterFailed | ConverterMissing:
    if type(error).__name__ in ("MissingShapeCalculator", "MissingConverter"):
        kind = re.search(r"<class '([^']+)'>", str(error))
        missing = f"none for `{kind.group(1)}`" if kind else "none"
        return ConverterMissing(
            f"`{title}`", expected="a converter of skl2onnx", found=missing, hint=_hint(missing)
        )
    reason = f"{type(error).__name__}: {one_line(error.__cause__ or error)}"
    reason = re.sub(r" ?You may raise an iss?ue at \S+", "", reason)
    return ConverterFailed(f"`{title}`", expected="skl2onnx to convert it", found=reason, hint=_hint(reason))


def _hint(reason: str) -> str:
    return next((instead for name, instead in _INSTEAD.items() if name in reason), _HINT)
