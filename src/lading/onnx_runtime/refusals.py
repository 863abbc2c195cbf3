"""What a graph refuses itself, since its framework raises there: why, and the error that says so.

ONNX has no operator that raises. `OneHotEncoder` with `zeros=0` fails the run for any number that it does not
know; ONNX Runtime's message has the name of the node, and that name says what is refused.
"""

from __future__ import annotations

import re
from enum import Enum

from lading.errors import ValueRefused

_OPERATOR_WORDS = "Unknown Category"
_NAME = re.compile(r"refuse/(\w+)/(\w+)/")


class Refused(Enum):
    """What was expected of a row, what it has, and what its sender or the model's author can do."""

    CATEGORY = (
        "categories that it was trained with",
        "another",
        '`handle_unknown` of an encoder, set in training, takes any: "ignore" or "use_encoded_value"',
    )
    NEW_MISSING = (
        "missing values only in columns that missed some in training",
        "one in another column",
        "error_on_new=False of a MissingIndicator, set in training, takes any",
    )
    NOT_FINITE = (
        "numbers of which the steps before `{step}` make finite ones",
        "numbers of which they make NaN or an infinity",
        "`{step}` takes neither: logarithms, roots and the like are not defined for every number",
    )
    NOT_POSITIVE = (
        "positive numbers, of which alone Box-Cox takes a power",
        "0 or a negative one",
        'PowerTransformer(method="yeo-johnson"), the default, takes any number',
    )
    NEGATIVE = (
        "whole numbers of `{step}` that are 0 or more",
        "a negative one",
        "positions in a table begin at 0; PyTorch refuses others, too",
    )
    EQUALLY_NEAR = (
        "nearest rows of training that their distance distinguishes",
        "more of them equally far than `{step}` takes, with other values",
        "which of them scikit-learn takes depends on the processor: use IterativeImputer or SimpleImputer",
    )

    @property
    def expected(self) -> str:
        """What was expected of a row."""
        return self.value[0]

    def node_name(self, step: str) -> str:
        """Return the start of the name of a node that refuses for this reason in front of, or in, `step`."""
        return f"refuse/{self.name}/{step}/"


def refusing_part(node_name: str) -> str:
    """Return what the name of a node says of a refusal: "" of any other node."""
    match = _NAME.match(node_name)
    return match[0] if match else ""


def refusal_in(sentence: str, where: str) -> ValueRefused | None:
    """Return the error for an `error_sentence` about a value that the graph refused, or None.

    An encoder in a file that lading did not convert refuses categories.
    """
    if _OPERATOR_WORDS not in sentence:
        return None
    name = _NAME.search(sentence)
    known = name is not None and name[1] in Refused.__members__
    reason, step = (Refused[name[1]], name[2]) if name and known else (Refused.CATEGORY, "")
    expected, actual, hint = (text.format(step=step) for text in reason.value)
    return ValueRefused(where, expected=expected, found=actual, hint=hint)
