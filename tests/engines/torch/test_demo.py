"""`make demo-frameworks`, as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_three_frameworks_behind_one_server_answer_as_they_do_themselves():
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "frameworks.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("largest difference") == 2
    assert done.stdout.splitlines()[-1].startswith("three frameworks, one server")
