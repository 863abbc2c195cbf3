"""Twelve bundles of every kind: two processes write what one writes, and set the same rows aside."""

from __future__ import annotations

import msgspec
import pytest

from lading.batch import plan as planning
from lading.batch.run import Options, run_batch
from lading.runtime.python.host import this_host
from support.batch_bundles import BAD, CASES, ROWS
from support.batch_runs import files
from support.environments import environments  # noqa: F401 - a fixture


@pytest.mark.slow
@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize("name", CASES)
def test_processes_write_the_bytes_of_one_for_models_of_every_kind(name, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "PART_ROWS", 200)
    folder = tmp_path / "case"
    folder.mkdir()
    case = CASES[name](folder)
    runs = []
    for processes in (1, 2):
        options = Options(keep=case.keep, processes=processes)
        out = tmp_path / f"out-{processes}"
        runs.append(run_batch(case.bundle, [case.source], out, options, python=this_host(case.allow)))
    # Rows that do not fit are in every case, or it would show nothing of them.
    assert runs[0].manifest.rejected >= len(range(ROWS)[BAD])
    assert runs[0].manifest.scored > runs[0].manifest.rejected
    assert msgspec.json.encode(runs[1].manifest) == msgspec.json.encode(runs[0].manifest)
    assert files(tmp_path / "out-2") == files(tmp_path / "out-1")
