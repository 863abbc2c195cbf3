"""Hugging Face transformers: a model with its tokenizer, its own answers to texts, and its core as a module.

Expected outputs come from the tokenizer and the model themselves, each text without padding. Tokens are made
in front of the graph, which `lading.pack` proves together with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedTokenizerBase

from lading.convert import Conversion
from lading.convert.table import Table
from lading.convert.torch import TorchModel
from lading.convert.torch_calls import ModuleCall
from lading.convert.torch_export import Route
from lading.convert.torch_samples import tensors_of
from lading.convert.transformers_tasks import Pooling, Task, task_of
from lading.errors import ConverterFailed, SamplesRefused
from lading.signature import Array

Tokens = dict[str, list[int]]
"""What a tokenizer makes of one text, by the inputs of a model."""

_ROWS_AT_ONCE = 32
_USUAL_LENGTH = 512
_NO_LENGTH = 1_000_000  # tokenizers without a length state 1e30
_PACKAGES = ("transformers", "tokenizers", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


def open_texts(
    model: Any, tokenizer: Any, pooling: Pooling | None, *, normalize: bool, labelled: bool
) -> TextModel:
    """Return a model, or a pipeline, with its tokenizer; ``labelled`` is for one whose classes have names.

    Raises `ConverterFailed`, `InvalidSetting`.
    """
    if isinstance(model, transformers.Pipeline):
        # A tokenizer that is stated counts more than that of the pipeline.
        model, tokenizer = model.model, tokenizer or model.tokenizer
    title = type(model).__name__
    if not isinstance(model, torch.nn.Module):
        kind = f"`{type(model).__module__}.{type(model).__qualname__}`"
        raise ConverterFailed(f"`{title}`", expected="a model of PyTorch, or a pipeline of one", found=kind)
    _check_tokenizer(tokenizer, title)
    task = task_of(model, pooling, normalize=normalize, labelled=labelled)
    return TextModel(task, tokenizer, title, getattr(model, "config", None))


class TextModel:
    """A model that takes texts, or pairs of them: its tokenizer, and its core, which takes tokens."""

    def __init__(self, task: Task, tokenizer: Any, title: str, config: Any) -> None:
        """Take what a model is for and its tokenizer; raises `ConverterFailed` if they do not fit."""
        self.title = title
        self.classes = task.classes if task.labelled else ()
        self._tokenizer = tokenizer
        names = ["input_ids", *(["attention_mask"] if "attention_mask" in task.takes else [])]
        types = "token_type_ids"
        self.inputs = (
            *names,
            *([types] if types in tokenizer.model_input_names and types in task.takes else []),
        )
        self.core = TextCore(task, self.inputs, title)
        self.max_length = self._longest(config)

    def tokens(self, texts: Mapping[str, Array]) -> list[Tokens]:
        """Return what the tokenizer makes of each text, cut to the length of the model."""
        columns = [texts[name].tolist() for name in ("text", "text_pair") if name in texts]
        encoded = self._tokenizer(
            *columns,
            truncation=True,
            max_length=self.max_length,
            padding=False,
            # A pipeline leaves out what the tokenizer does not name; pooling needs it all the same.
            return_attention_mask=True,
            return_token_type_ids="token_type_ids" in self.inputs,
            verbose=False,
        )
        rows = [{name: list(encoded[name][row]) for name in self.inputs} for row in range(len(columns[0]))]
        # A text without a token of its own is one of padding.
        blank = {name: [self._padding()[name]] for name in self.inputs} | {"attention_mask": [1]}
        return [row if row["input_ids"] else {name: blank[name] for name in self.inputs} for row in rows]

    def uncut(self, texts: Mapping[str, Sequence[str]]) -> list[int]:
        """Return the token ids of one text, or of a pair, however many they are."""
        return list(self._tokenizer(*(column[0] for column in texts.values()), verbose=False)["input_ids"])

    def answers(self, texts: Mapping[str, Array]) -> dict[str, Array]:
        """Return the answers of the model to each text without padding; raises `SamplesRefused`."""
        rows = self.tokens(texts)
        lengths = np.array([len(row["input_ids"]) for row in rows])
        parts: list[tuple[Array, dict[str, Array]]] = []
        # Of one length: nothing is filled up, so that each answer is that of the text alone.
        for length in np.unique(lengths):
            same = np.flatnonzero(lengths == length)
            for at in range(0, len(same), _ROWS_AT_ONCE):
                index = same[at : at + _ROWS_AT_ONCE]
                parts.append((index, self.core.answer(self._arrays([rows[row] for row in index]))))
        order = np.argsort(np.concatenate([index for index, _ in parts]))
        self._check_sizes([outputs for _, outputs in parts])
        return {name: np.concatenate([outputs[name] for _, outputs in parts])[order] for name in parts[0][1]}

    def files(self) -> dict[str, bytes]:
        """Return the files of the step that makes tokens, by name."""
        settings = {
            "inputs": list(self.inputs),
            "max_length": self.max_length,
            "padding": {name: self._padding()[name] for name in self.inputs},
            "padding_side": self._tokenizer.padding_side,
            "truncation_side": self._tokenizer.truncation_side,
        }
        return {
            # Sorted, so that a model packed again has the same bytes.
            "texts.json": json.dumps(settings, indent=1, sort_keys=True).encode(),
            "tokenizer.json": self._tokenizer.backend_tokenizer.to_str().encode(),
        }

    def _arrays(self, rows: Sequence[Tokens]) -> dict[str, Array]:
        return {name: np.array([row[name] for row in rows], dtype=np.int64) for name in self.inputs}

    def _padding(self) -> dict[str, int]:
        return {
            "input_ids": self._tokenizer.pad_token_id,
            "attention_mask": 0,
            "token_type_ids": self._tokenizer.pad_token_type_id,
        }

    def _check_sizes(self, parts: Sequence[Mapping[str, Array]]) -> None:
        """Check that an output has one size for texts of every length."""
        for name, first in parts[0].items():
            other = next((part[name] for part in parts if part[name].shape[1:] != first.shape[1:]), None)
            if other is not None:
                raise ConverterFailed(
                    f"output `{name}` of `{self.title}`",
                    expected="one size for texts of every length",
                    found=f"{list(first.shape[1:])} and {list(other.shape[1:])}",
                    hint="pool what each token has to one vector of the text",
                )

    def _longest(self, config: Any) -> int:
        """Return how many tokens a text may have: as the tokenizer states, and as the model really takes."""
        stated = self._tokenizer.model_max_length
        positions = getattr(config, "max_position_embeddings", None) or 0
        # XLNet has -1, which is no limit.
        known = [int(length) for length in (stated, positions) if 0 < length < _NO_LENGTH]
        most = min(known, default=_USUAL_LENGTH)
        token = self._tokenizer.unk_token_id or 0
        reason = self.core.refuses_length(most, token)
        # Positions of RoBERTa begin behind the number of the padding.
        fewer = most - int(self._tokenizer.pad_token_id) - 1
        if reason is None or (fewer > 0 and self.core.refuses_length(fewer, token) is None):
            return most if reason is None else fewer
        raise ConverterFailed(
            f"`{self.title}`",
            expected=f"a model that takes the {most} tokens of its tokenizer",
            found=reason,
            hint="state the length of the model: `tokenizer.model_max_length = 512`",
        )


class TextCore(TorchModel):
    """What follows the tokenizer: a module that takes tokens, filled up to the longest text."""

    def __init__(self, task: Task, inputs: Sequence[str], title: str) -> None:
        super().__init__(
            ModuleCall(task.module, title),
            {},
            {name: {1: "length"} for name in inputs},
            labelled=task.labelled,
        )
        self.framework = self.expected_from = (
            f"transformers {transformers.__version__} with torch {torch.__version__}"
        )
        self.packages = _PACKAGES
        self.purpose = task.purpose
        self.batches: Sequence[tuple[str, dict[str, Array]]] = ()
        """Tokens of texts together, each with what they are: the calls that packing compares."""
        self._inputs = tuple(inputs)
        self._dtypes = dict.fromkeys(inputs, torch.int64)
        self._names = () if task.labelled else task.classes

    def answer(self, tokens: Mapping[str, Array]) -> dict[str, Array]:
        """Return the module's own outputs."""
        return self._outputs(tokens)

    def refuses_length(self, length: int, token: int) -> str | None:
        """Return why the module does not answer a text of so many tokens; None if it does."""
        tokens = {
            name: np.full((1, length), int(name == "attention_mask"), np.int64) for name in self._inputs
        }
        tokens["input_ids"][:] = token
        try:
            self._call.run(tensors_of(tokens, self._dtypes))
        except SamplesRefused as error:
            return error.found
        return None

    def other_calls(self, table: Table) -> Iterator[tuple[str, Table]]:
        """Return the batches: texts of other lengths and numbers, as the tokenizer fills them up."""
        for title, tokens in self.batches:
            yield title, table.with_arrays(dict(tokens))

    def _convert(self, title: str, route: Route, table: Table, expected: dict[str, Array]) -> Conversion:
        conversion = super()._convert(title, route, table, expected)
        return _with_columns(conversion, self._names) if self._names else conversion


def _with_columns(conversion: Conversion, names: tuple[str, ...]) -> Conversion:
    """Return a conversion whose outputs have the names of columns where there are as many."""
    from msgspec import structs

    signature = conversion.signature
    outputs = tuple(
        structs.replace(tensor, columns=names) if tensor.shape[1:] == (len(names),) else tensor
        for tensor in signature.outputs
    )
    return Conversion(
        conversion.model,
        structs.replace(signature, outputs=outputs),
        conversion.notes,
        conversion.rounding,
    )


def _check_tokenizer(tokenizer: Any, title: str) -> None:
    where = f"the tokenizer of `{title}`"
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        kind = f"`{type(tokenizer).__module__}.{type(tokenizer).__name__}`"
        hint = "wrap one of `tokenizers`: `PreTrainedTokenizerFast(tokenizer_object=…, pad_token=…)`"
        raise ConverterFailed(
            where,
            expected="a tokenizer of transformers",
            found="none" if tokenizer is None else kind,
            hint=hint,
        )
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ConverterFailed(
            where,
            expected="one that is saved as `tokenizer.json`",
            found=f"`{type(tokenizer).__name__}`, which is Python code",
            hint="load it by `AutoTokenizer`, or make a `PreTrainedTokenizerFast` of it",
        )
    if tokenizer.pad_token_id is None:
        hint = "`tokenizer.pad_token = tokenizer.eos_token`, and `model.config.pad_token_id` likewise"
        raise ConverterFailed(where, expected="a token for padding", found="none", hint=hint)
