"""What `pack` was called with for a model of texts, checked. Imports neither transformers nor tokenizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lading.convert.open import is_of_texts
from lading.errors import InvalidSetting
from lading.pack.arguments import require
from lading.pack.python_models import OwnCode

_POOLINGS = ("mean", "cls", "last")


@dataclass(frozen=True)
class Texts:
    """A tokenizer, and how the vectors of tokens become one of the text."""

    tokenizer: Any = None
    pooling: Any = None
    normalize: bool = False

    def belong_to(self, model: Any) -> bool:
        """Return whether `model` takes texts; raises `InvalidSetting` for a pooling of one that does not."""
        if self.tokenizer is not None or is_of_texts(model):
            expected = "one of `mean`, `cls`, `last`"
            require(self.pooling in (None, *_POOLINGS), "`pooling`", expected, f"`{self.pooling}`")
            return True
        stated = "pooling" if self.pooling is not None else "normalize" if self.normalize else None
        if stated is not None:
            raise InvalidSetting(
                f"`{stated}`", expected="a model of transformers with a `tokenizer`", found="another model"
            )
        return False

    def refuse_others(self, runtime: str, steps: Any, own: OwnCode, batch_axis: Any, open_axes: Any) -> None:
        """Refuse what a model with a tokenizer does not take; raises `InvalidSetting`."""
        require(runtime != "python", "`runtime` with a tokenizer", "`auto` or `onnx`", "`python`")
        stated = {
            "steps": steps is not None,
            "files": bool(own.files),
            "code": bool(own.code),
            "batch_axis": bool(batch_axis),
            "open_axes": bool(open_axes),
        }
        for name in (name for name, is_stated in stated.items() if is_stated):
            raise InvalidSetting(
                f"`{name}` with a tokenizer",
                expected="none: the step that makes the tokens is lading's own",
                found="some",
                hint="without `tokenizer` the model takes tokens, and `steps` of your own may make them",
            )
