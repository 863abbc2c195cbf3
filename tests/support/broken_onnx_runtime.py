"""An ONNX Runtime built wrongly, as it were: it is found first, and answers beside the truth."""

from __future__ import annotations

from pathlib import Path

_OTHER_ANSWERS = """
import sys
from pathlib import Path

here = str(Path(__file__).parent.parent)
paths, sys.path = sys.path, [path for path in sys.path if path != here]
del sys.modules["onnxruntime"]
import onnxruntime
sys.path = paths


class Other:
    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run(self, *arguments):
        return [answer[::-1] for answer in self._session.run(*arguments)]


class InferenceSession(onnxruntime.InferenceSession):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._sess = Other(self._sess)


onnxruntime.InferenceSession = InferenceSession
"""


def broken_onnx_runtime(folder: Path) -> str:
    """Write it below `folder`, and return what has to come first where Python looks for modules."""
    (folder / "onnxruntime").mkdir(parents=True)
    (folder / "onnxruntime" / "__init__.py").write_text(_OTHER_ANSWERS)
    return str(folder)
