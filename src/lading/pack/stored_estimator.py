"""A fitted estimator as files that a model process loads: by skops where that knows it, else pickled.

skops stores an object as its types and values, and loads no type that is not named. Types of scikit-learn,
numpy and scipy are taken as known; any other is somebody's code, which runs when the bundle is loaded: it has
to be named. Nothing is pickled that was not allowed to be. Loads nothing itself.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lading.bundle.formats.v2 import FILES
from lading.convert import TrainedModel
from lading.convert.sklearn import SklearnModel, methods_of
from lading.errors import ConverterFailed, missing_extra, one_line
from lading.runtime.python.shim import TRUSTED_FILE, is_known_type, reader_of_files


@dataclass(frozen=True)
class StoredEstimator:
    """How an estimator is stored: the ``kind`` of file, and the files.

    ``types`` are those, as ``module.name``, whose code may have to come along, and ``imports`` the top
    modules without which it does not load. ``needs_dtypes`` is whether it tells whole numbers from others, as
    encoders do.
    """

    kind: str
    files: dict[str, bytes]
    trained: TrainedModel
    imports: frozenset[str]
    types: tuple[str, ...] = ()
    needs_dtypes: bool = False


def stored(
    estimator: Any, *, trust_types: Sequence[str] = (), allow_pickle: bool = False, floats: str = "auto"
) -> StoredEstimator:
    """Return a fitted estimator as files; its answers are rounded to `floats`, unless that is ``auto``.

    Raises `ConverterFailed` naming the types that skops does not know and nobody has named, `ExtraMissing`.
    """
    trained = SklearnModel(estimator)
    settings: dict[str, Any] = {"call": {method: [name] for name, method in methods_of(trained).items()}}
    if floats != "auto":
        settings["floats"] = floats
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        settings["columns"] = [str(name) for name in names]
    kept = store_object(estimator, trained.title, trust_types=trust_types, allow_pickle=allow_pickle)
    imports = kept.imports | ({"pandas"} if names is not None else set())
    return StoredEstimator(
        kept.kind,
        kept.with_settings(settings),
        trained,
        imports,
        kept.types,
        needs_dtypes=_has_encoders(estimator),
    )


@dataclass(frozen=True)
class StoredFile:
    """An object in a file: its ``kind``, and the ``files`` with the names of the types that it may hold.

    ``trusted`` are known types beyond those of skops, ``types`` those whose code may have to come along, and
    ``imports`` the top modules without which it does not load.
    """

    kind: str
    files: dict[str, bytes]
    trusted: tuple[str, ...]
    types: tuple[str, ...]
    imports: frozenset[str]

    def with_settings(self, settings: dict[str, Any]) -> dict[str, bytes]:
        """Return the files and the one that says how the object is called."""
        trusted = {"trusted": list(self.trusted)} if self.kind == "skops" else {}
        text = json.dumps({**settings, **trusted}, sort_keys=True, ensure_ascii=False)
        return {**self.files, f"{FILES}/model.json": text.encode()}


def store_object(
    thing: Any, title: str, *, trust_types: Sequence[str] = (), allow_pickle: bool = False
) -> StoredFile:
    """Return an object by skops, or pickled where that is allowed; raises as `stored` does."""
    files: dict[str, bytes] = {}
    if allow_pickle:
        kind = "joblib"
        files[f"{FILES}/model.{kind}"] = _pickled(thing)
        types = unknown = _types_in(thing)
    else:
        kind = "skops"
        _refuse_reader(thing)
        data, types = _by_skops(thing)
        unknown = [name for name in types if not is_known_type(name)]
        untrusted = sorted(set(unknown) - set(trust_types))
        if untrusted:
            raise _unknown_types(title, untrusted)
        files[f"{FILES}/model.{kind}"] = data
        if unknown:
            files[TRUSTED_FILE] = "".join(f"{name}\n" for name in sorted(unknown)).encode()
    imports = {name.partition(".")[0] for name in (*types, *_types_in(thing))} | {kind}
    trusted = tuple(sorted(set(types) - set(unknown)))
    return StoredFile(kind, files, trusted, tuple(unknown), frozenset(imports))


def load_skops(path: Path, title: str, trust_types: Sequence[str] = ()) -> Any:
    """Return the object in a file of skops, with known types and those that are named.

    Raises `ConverterFailed` naming the others, `ExtraMissing`.
    """
    try:
        import skops.io
    except ImportError as error:
        raise missing_extra("skops", "python", error) from None
    try:
        types = skops.io.get_untrusted_types(file=path)
        untrusted = sorted(name for name in types if not is_known_type(name) and name not in trust_types)
        if not untrusted:
            return skops.io.load(path, trusted=types)
    except Exception as error:  # zipfile, json and each type have errors of their own
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ConverterFailed(
            f"`{title}`", expected="a file of skops that loads here", found=reason
        ) from error
    raise _unknown_types(title, untrusted)


def _unknown_types(title: str, untrusted: Sequence[str]) -> ConverterFailed:
    return ConverterFailed(
        f"`{title}`",
        expected="types that skops knows",
        found=", ".join(f"`{name}`" for name in untrusted),
        hint=f"if this is your code or a package that you trust, name it: {_flags(untrusted)}",
    )


def _refuse_reader(estimator: Any) -> None:
    reader = reader_of_files(estimator)
    if reader is not None:
        raise ConverterFailed(
            f"`{reader}`",
            expected="a vectorizer of texts",
            found="one that reads the files which the texts name",
            hint='set `input="content"`, and send the texts themselves',
        )


def _by_skops(estimator: Any) -> tuple[bytes, list[str]]:
    """Return the estimator as skops stores it, and the types that loading it has to trust."""
    try:
        import skops.io
    except ImportError as error:
        raise missing_extra("skops", "python", error) from None
    try:
        data = skops.io.dumps(estimator)
        return data, sorted(skops.io.get_untrusted_types(data=data))
    except Exception as error:
        raise ConverterFailed(
            f"`{type(estimator).__name__}`",
            expected="an object that skops can store",
            found=f"{type(error).__name__}: {one_line(error)}",
            hint="`--allow-pickle` stores it by joblib; servers then have to allow pickles",
        ) from error


def _pickled(estimator: Any) -> bytes:
    import joblib

    # joblib and not pickle: arrays are written once, whatever points to them, and compressed.
    buffer = io.BytesIO()
    try:
        joblib.dump(estimator, buffer, compress=3)
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        where = f"`{type(estimator).__name__}`"
        raise ConverterFailed(where, expected="an object that can be pickled", found=reason) from error
    return buffer.getvalue()


def _types_in(estimator: Any) -> list[str]:
    """Return the types of an estimator and of the estimators in it, as ``module.name``."""
    parts = [estimator]
    if hasattr(estimator, "get_params"):
        parts += estimator.get_params(deep=True).values()
    return sorted({f"{type(part).__module__}.{type(part).__qualname__}" for part in parts})


def _has_encoders(estimator: Any) -> bool:
    """Return whether a step looks values up, so that 1 and 1.0 may differ to it."""
    parts = [estimator]
    if hasattr(estimator, "get_params"):
        parts += estimator.get_params(deep=True).values()
    return any(hasattr(part, "categories_") or hasattr(part, "transformers_") for part in parts)


def _flags(names: Sequence[str]) -> str:
    return " ".join(f"`--trust-type {name}`" for name in names)
