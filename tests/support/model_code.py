"""Models as Python code, run by the interpreter of the tests as their environment."""

from __future__ import annotations

import contextlib
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from lading.errors import ModelProcessEnded
from lading.runtime.python.process import ProcessSettings
from lading.runtime.python.session import PythonRuntime
from lading.signature import Tensor

DOUBLE = """
    import lading

    class M(lading.Model):
        def predict(self, inputs):
            return {"y": inputs["x"] * 2}
"""

_OBEYS = """
    import os, threading, time

    def M(x):
        if x[0, 0] == -1:
            {statement}
        return x * 2
"""

X = np.arange(8, dtype="f4").reshape(2, 4)
BAD = np.full((1, 4), -1, "f4")
"""For which `obeys` does what it is asked for."""


def obeys(statement: str) -> str:
    """Return code that doubles its input, but does `statement` for `BAD`."""
    return _OBEYS.format(statement=statement)


def answers(runtime: PythonRuntime) -> bool:
    """Return whether the runtime of code that doubles its input does so."""
    return bool((runtime.run({"x": X})["y"] == X * 2).all())


def answers_in_time(runtime: PythonRuntime) -> bool:
    """Return whether it does so, and not that no process is ready."""
    try:
        return answers(runtime)
    except ModelProcessEnded:
        return False


def children(pid: int | str = "self") -> set[int]:
    """Return the processes that the threads of a process have started, and that have not ended."""
    started: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end before it is asked; its children are then those of another.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            started |= {int(child) for child in (task / "children").read_text().split()}
    return started


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
