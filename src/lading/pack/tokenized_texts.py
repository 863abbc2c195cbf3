"""The step that makes tokens of texts; bundles hold it as ``code/tokenized_texts.py``.

A model process has it without lading, so that it imports numpy, `tokenizers` and the class `lading.Model`
alone. What of transformers decides the tokens beside ``tokenizer.json`` is in ``texts.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

import lading


class TokenizedTexts(lading.Model):
    """Texts, or pairs of them, to the inputs of a model: cut to its length, filled up to the longest."""

    def load(self, files: Path) -> None:
        """Load the tokenizer."""
        settings = json.loads((files / "texts.json").read_text(encoding="utf-8"))
        self.names: list[str] = settings["inputs"]
        self.padding: dict[str, int] = settings["padding"]
        self.on_the_left: bool = settings["padding_side"] == "left"
        self.tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
        # The file may hold settings of the last call of training.
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(settings["max_length"], direction=settings["truncation_side"])

    def preprocess(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return token ids and what belongs to them, ``[rows, length]``."""
        texts = inputs["text"].tolist()
        if "text_pair" in inputs:
            texts = list(zip(texts, inputs["text_pair"].tolist(), strict=True))
        rows = self.tokenizer.encode_batch(texts)
        # A text without a token of its own is one of padding: a model has no answer to nothing.
        length = max(1, *map(len, rows))
        arrays = {name: np.full((len(rows), length), self.padding[name], np.int64) for name in self.names}
        # By hand: padding of `tokenizers` would need the side and the values set for each length.
        for at, row in enumerate(rows):
            place = slice(length - len(row), length) if self.on_the_left else slice(len(row))
            columns = {"input_ids": row.ids, "attention_mask": 1, "token_type_ids": row.type_ids}
            for name, array in arrays.items():
                array[at, place] = columns[name]
            if not len(row) and "attention_mask" in arrays:
                arrays["attention_mask"][at, -1 if self.on_the_left else 0] = 1
        return arrays
