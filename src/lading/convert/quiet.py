"""What a framework and its exporters print, log and warn, kept away from the user's terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from tempfile import TemporaryFile

_LOGGERS = ("tf2onnx", "tensorflow", "absl")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what TensorFlow and its exporters print, log and warn away from the user's terminal.

    TensorFlow's C++ writes to the file descriptor of stderr, whatever `sys.stderr` is.
    """
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    out, err = sys.stdout, sys.stderr
    err.flush()
    kept = os.dup(2)
    with TemporaryFile() as hidden, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
            sys.stdout, sys.stderr = StringIO(), StringIO()
            os.dup2(hidden.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            sys.stdout, sys.stderr = out, err
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
