from __future__ import annotations

import pytest

from lading.runtime.python.session import PythonRuntime
from support.model_code import DOUBLE, model_code


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens a runtime of some code; all are closed in the end."""
    runtimes = []

    def open_runtime(source: str = DOUBLE, *, settings=None, **options) -> PythonRuntime:
        runtimes.append(PythonRuntime(model_code(tmp_path, source, **(settings or {})), **options))
        return runtimes[-1]

    yield open_runtime
    for runtime in runtimes:
        runtime.close()
