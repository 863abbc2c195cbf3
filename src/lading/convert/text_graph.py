"""Nodes that read text, added to the graph that skl2onnx is building. Knows no vectorizer.

Texts are strings ``[batch]``; tokens and characters are int64 ``[batch, places]``, and rows that end earlier
are filled up with `NOTHING`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lading.convert.graph_nodes import GraphNodes

NOTHING = 0
"""The number of a place that holds nothing, such as those behind the end of a row."""
UNKNOWN = 1
"""The number of a token or character that no vocabulary has."""

Gram = tuple[tuple[int, ...], int]
"""Numbers that follow one another, and the column in which they are counted."""

_IMPOSSIBLE = -7  # a number that no token has
_LOCALE = "C.UTF-8"  # that of skl2onnx, en_US.UTF-8, is missing in most containers


class TextGraph(GraphNodes):
    """Adds nodes that read texts; each method returns the name of what it made."""

    def tokens(self, text: str, **attributes: Any) -> str:
        """Return the tokens of each text, rows filled up with the empty one."""
        return self.node("Tokenizer", [text], mark=0, mincharnum=1, pad_value="", **attributes)

    def characters(self, text: str) -> str:
        """Return the characters of each text, and at least one empty place behind them."""
        separated = self.tokens(text, separators=[""])
        # A Tokenizer that found nothing in any row gives no places, and another one cannot go on from there.
        rows = self.node("Concat", [self.node("Shape", [text]), self.axis(1)], axis=0)
        empty = self.node("Expand", [self.constant(np.array([""], dtype=object)), rows])  # [batch, 1]
        return self.node("Concat", [separated, empty], axis=1)

    def lowered(self, tokens: str) -> str:
        """Return texts of any shape in lower case, character by character."""
        # StringNormalizer takes one dimension, and at least one text.
        flat = self.node("Reshape", [tokens, self.axis(-1)])
        last = self.constant(np.array([""], dtype=object))
        some = self.node("Concat", [flat, last], axis=0)
        case: dict[str, Any] = {"case_change_action": "LOWER", "is_case_sensitive": 1, "locale": _LOCALE}
        lower = self.node("StringNormalizer", [some], **case)
        own = self.node("Slice", [lower, self.axis(0), self.axis(-1)])
        return self.node("Reshape", [own, self.node("Shape", [tokens])], allowzero=1)

    def looked_up(self, tokens: str, numbers: Mapping[str, int], *, default: int = UNKNOWN) -> str:
        """Return the number of each text; the empty one is `NOTHING`."""
        keys = {"": NOTHING, **numbers}
        table: dict[str, Any] = {"keys_strings": list(keys), "values_int64s": list(keys.values())}
        return self.node("LabelEncoder", [tokens], default_int64=default, **table)

    def contains(self, tokens: str, regex: str) -> str:
        """Return whether each text ``[batch, places]`` has a match of `regex`."""
        matches = self.tokens(tokens, tokenexp=regex)  # [batch, places, matches]
        marks = self.looked_up(matches, {})
        count = self.node("ReduceSum", [marks, self.axis(2)], keepdims=0)
        return self.node("Greater", [count, self.constant(np.array(0))])

    def padded(self, ids: str, *, before: int, after: int, value: int) -> str:
        """Put places before and after each row."""
        pads = self.constant(np.array([0, before, 0, after]))
        return self.node("Pad", [ids, pads, self.constant(np.array(value))], mode="constant")

    def shifted(self, ids: str, by: int) -> str:
        """Return what is `by` places further on (before, if negative); beyond the ends there is `NOTHING`."""
        moved = self.padded(ids, before=max(0, -by), after=max(0, by), value=NOTHING)
        start, end = (by, np.iinfo(np.int64).max) if by > 0 else (0, by)
        return self.node("Slice", [moved, self.axis(start), self.axis(int(end)), self.axis(1)])

    def without(self, ids: str, left_out: str) -> str:
        """Close the gaps that the places marked in `left_out` leave; no row may be empty."""
        length = self.node("Slice", [self.node("Shape", [ids]), self.axis(1), self.axis(2)])  # [1]
        scalar = self.node("Squeeze", [length])
        zero, step = (self.constant(np.array(value)) for value in (0, 1))
        places = self.node("Range", [zero, scalar, step])  # [places]
        late = self.node("Mul", [self.node("Cast", [left_out], to=7), scalar])
        order = self.node("Add", [places, late])  # [batch, places], each value once in its row
        kept = self.node("Where", [left_out, self.constant(np.array(NOTHING)), ids])
        first = str(self._scope.get_unique_variable_name("smallest"))
        index = str(self._scope.get_unique_variable_name("index"))
        self._container.add_node(
            "TopK",
            [order, length],
            [first, index],
            op_version=18,
            name=self._scope.get_unique_operator_name("TopK"),
            largest=0,
            sorted=1,
        )
        return self.node("GatherElements", [kept, index], axis=1)

    def gram_counts(self, ids: str, pool: Sequence[Gram], *, columns: int) -> str:
        """Count the grams of `pool` in each row, ``[batch, columns]`` of float32."""
        grams = sorted(pool, key=lambda gram: (len(gram[0]), gram[1]))
        most = max((len(numbers) for numbers, _ in grams), default=1)
        if all(column != columns - 1 for _, column in grams):
            # The output is as wide as its last column that can be counted.
            grams.append(((_IMPOSSIBLE,) * most, columns - 1))
        lengths = [len(numbers) for numbers, _ in grams]
        starts, at = [], 0
        for length in range(1, most + 1):
            starts.append(at)
            at += lengths.count(length) * length
        return self.node(
            "TfIdfVectorizer",
            [ids],
            mode="TF",
            min_gram_length=min(lengths),
            max_gram_length=most,
            max_skip_count=0,
            ngram_counts=starts,
            ngram_indexes=[column for _, column in grams],
            pool_int64s=[number for numbers, _ in grams for number in numbers],
        )
