"""Models as Python code, run by the interpreter of the tests as their environment."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

from lading.runtime.python.process import ProcessSettings
from lading.signature import Tensor

DOUBLE = """
    import lading

    class M(lading.Model):
        def predict(self, inputs):
            return {"y": inputs["x"] * 2}
"""


def tensor(name: str, *shape: int | str, dtype: Any = "float32") -> Tensor:
    """Return an input or output; the batch comes first in `shape`."""
    return Tensor(name=name, dtype=dtype, shape=shape or ("batch", 4))


def model_code(folder: Path, source: str, **changes: Any) -> ProcessSettings:
    """Write `source` as the module `model` and return how it runs: ``x`` to ``y``, four floats a row."""
    code, files = folder / "code", folder / "files"
    code.mkdir(parents=True, exist_ok=True)
    files.mkdir(exist_ok=True)
    (code / "model.py").write_text(textwrap.dedent(source))
    settings = {
        "name": "churn",
        "interpreter": Path(sys.executable),
        "code": code,
        "files": files,
        "entry": "model:M",
        "inputs": (tensor("x"),),
        "outputs": (tensor("y"),),
    }
    return ProcessSettings(**(settings | changes))
