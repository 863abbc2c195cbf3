"""Folders that `save_pretrained` of transformers or sentence-transformers wrote, read so that nothing runs.

Weights come from safetensors and no pickle, the class of the model from transformers and from no file of the
folder. Nothing is downloaded.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from lading.errors import ConverterFailed, one_line

_FILES = ("config.json", "tokenizer.json")
# The names that sentence-transformers has for ways to pool, as flags (before 5) and as one text.
_POOLINGS = {
    "mean": ("pooling_mode_mean_tokens", "mean"),
    "cls": ("pooling_mode_cls_token", "cls"),
    "last": ("pooling_mode_lasttoken", "last"),
}
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Sentences:
    """What a folder of sentence-transformers states: how vectors are pooled, and how long a text may be."""

    pooling: Any = None
    normalize: bool = False
    most_tokens: int | None = None


def read_sentences(path: Path) -> Sentences:
    """Return what the files of sentence-transformers in a folder state; raises `ConverterFailed`."""
    if not (path / "modules.json").is_file():
        return Sentences()
    modules = {
        str(each["type"]).rpartition(".")[2]: str(each["path"]) for each in _json(path, "modules.json")
    }
    unknown = [name for name in modules if name not in ("Transformer", "Pooling", "Normalize")]
    if unknown or "Pooling" not in modules:
        first = f"the module `{unknown[0]}`" if unknown else "no `Pooling`"
        raise _refused(path, first, "pack a module of your own that computes the same, and its tokenizer")
    if _json(path, "config_sentence_transformers.json").get("default_prompt_name") is not None:
        hint = "pack the model in it, and put the prompt in front of the texts that you send"
        raise _refused(path, "a prompt before every text", hint)
    limits = _json(path, "sentence_bert_config.json")
    if limits.get("do_lower_case"):
        raise _refused(path, "texts in lower case before the tokenizer", "let the tokenizer do it")
    pooling = _pooling(path, _json(path, f"{modules['Pooling']}/config.json"))
    return Sentences(pooling, "Normalize" in modules, limits.get("max_seq_length"))


def _pooling(path: Path, config: Any) -> str:
    flags = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    stated = flags or [str(config.get("pooling_mode"))]
    known = [name for name, names in _POOLINGS.items() if len(stated) == 1 and stated[0] in names]
    if not known:
        hint = "pack a module of your own that pools like this, and its tokenizer"
        raise _refused(path, f"pooling by {', '.join(f'`{name}`' for name in stated)}", hint)
    return known[0]


def _json(path: Path, name: str) -> Any:
    """Return the content of a JSON file in a folder, an empty object without that file."""
    if not (path / name).is_file():
        return {}
    try:
        content = json.loads((path / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refused(path, f"`{name}`: {one_line(error)}", None) from error
    if not isinstance(content, list if name == "modules.json" else dict):
        raise _refused(path, f"a `{type(content).__name__}` in `{name}`", None)
    return content


def load_folder(path: Path) -> tuple[Any, Any]:
    """Return the model in a folder, and its tokenizer; raises `ConverterFailed`."""
    missing = [name for name in _FILES if not (path / name).is_file()]
    if missing:
        hint = "save both there: `model.save_pretrained(DIR)` and `tokenizer.save_pretrained(DIR)`"
        raise _refused(path, f"no `{missing[0]}`", hint)
    if not any((path / name).is_file() for name in _WEIGHTS):
        hint = "`model.save_pretrained(DIR)` writes weights as safetensors, which are no pickle"
        raise _refused(path, "no `model.safetensors`", hint)
    kind = _class_of(path)
    # What it reports of missing weights is an error here, and no table on the terminal.
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {"local_files_only": True, "trust_remote_code": False}
            model, report = kind.from_pretrained(
                path, use_safetensors=True, output_loading_info=True, **options
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, **options)
    except Exception as error:  # transformers, safetensors and JSON share no base
        raise _refused(path, f"{type(error).__name__}: {one_line(error)}", None) from error
    finally:
        transformers.logging.set_verbosity(level)
    absent = sorted(report["missing_keys"])
    if absent:
        # They would be drawn at random.
        hint = "pack the model that was trained: one without its last layer answers nothing"
        raise _refused(path, f"no weights of `{absent[0]}` of `{kind.__name__}`", hint)
    return model, tokenizer


def _class_of(path: Path) -> Any:
    """Return the class of the model that a folder names."""
    names = _json(path, "config.json").get("architectures") or ["none"]
    # Not by `AutoModel`, which would also follow `auto_map` to a file of the folder.
    kind = getattr(transformers, str(names[0]), None)
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        hint = "load it in a module of your own, and pack `module:model --tokenizer module:tokenizer`"
        raise _refused(path, f"the class `{names[0]}`, which is not of transformers", hint)
    return kind


def _refused(path: Path, found: str, hint: str | None) -> ConverterFailed:
    expected = "a model of transformers with its tokenizer"
    return ConverterFailed(f"`{path}`", expected=expected, found=found, hint=hint)
