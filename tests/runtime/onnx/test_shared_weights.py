"""Weights shared between processes: the same answers bit for bit, one copy, and no copy left behind."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lading.bundle import Bundle
from lading.runtime.onnx.shared_weights import SHARED_FROM_BYTES, Space, open_with_shared_weights
from lading.runtime.open import load_runtime, load_shared
from support.bundles import linear_bundle
from support.large_models import (
    branches,
    convolutions,
    drawn,
    embeddings,
    half_precision,
    matrix,
    odd_sizes,
    quantized,
    recurrent,
    small_tensors,
    sparse,
    with_external_data,
    words,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@pytest.fixture(autouse=True)
def propagated_logs() -> Iterator[None]:
    """Let log records reach `caplog`: a server of another test may have configured logging."""
    logger = logging.getLogger("lading")
    before, logger.propagate = logger.propagate, True
    yield
    logger.propagate = before


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def only_warning(caplog: pytest.LogCaptureFixture) -> str:
    """Return the only warning in the log."""
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, warnings
    return warnings[0]


def bits(arrays: dict[str, Any]) -> dict[str, Any]:
    return {
        name: array.tolist() if array.dtype == object else array.tobytes() for name, array in arrays.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "build",
    [matrix, odd_sizes, quantized, convolutions, recurrent, half_precision, embeddings, branches, words],
)
def test_a_copy_answers_like_the_model_to_the_last_bit(tmp_path, folder, caplog, build, threads):
    bundle = build(tmp_path / "bundle")
    usual = load_runtime(bundle, threads=threads)
    expected = usual.run_whole(bundle.samples().inputs)
    usual.close()
    first, second = (load_shared(bundle, folder, threads=threads) for _ in range(2))
    assert first is not None, caplog.text
    assert second is not None, caplog.text
    for runtime in (first, second):
        assert (runtime.inputs, runtime.outputs) == (usual.inputs, usual.outputs)
        for _ in range(3):  # Whole: dynamically quantized rows answer by their company.
            assert bits(runtime.run_whole(bundle.samples().inputs)) == bits(expected)
        runtime.close()
    assert caplog.records == []
    assert copies(folder) == []


@pytest.mark.slow
def test_weights_in_external_data_are_shared_too(tmp_path, folder):
    inside = matrix(tmp_path / "inside")
    bundle = with_external_data(inside, tmp_path)
    assert inside.weights_bytes() == pytest.approx(bundle.weights_bytes(), rel=0.001)
    runtime = load_shared(bundle, folder, threads=1)
    assert runtime is not None
    assert bits(runtime.run(bundle.samples().inputs)) == bits(inside.samples().outputs)
    runtime.close()


def test_a_small_model_is_loaded_by_every_process(tmp_path, folder, caplog):
    assert load_shared(linear_bundle(tmp_path / "iris"), folder) is None
    assert list(folder.iterdir()) == []
    assert caplog.records == []


@pytest.mark.slow
def test_a_model_of_many_small_tensors_is_loaded_by_every_process(tmp_path, folder, caplog):
    bundle = small_tensors(tmp_path / "bundle")
    assert bundle.weights_bytes() > SHARED_FROM_BYTES
    assert load_shared(bundle, folder) is None
    assert list(folder.iterdir()) == []
    assert caplog.records == []


@pytest.mark.slow
def test_a_forest_has_no_tensors_to_share(tmp_path, folder, caplog):
    from sklearn.datasets import make_regression
    from sklearn.ensemble import RandomForestRegressor

    import lading

    x, y = make_regression(4_500, 10, noise=1.0, random_state=0)
    forest = RandomForestRegressor(90, random_state=0).fit(x.astype("f4"), y)
    bundle = lading.pack(
        forest, name="forest", samples=x[:20].astype("f4"), owner="a", purpose="regression", to=tmp_path / "b"
    )
    assert bundle.manifest.files["model.onnx"].size > SHARED_FROM_BYTES
    assert bundle.weights_bytes() < 1000
    assert load_shared(bundle, folder) is None
    assert list(folder.iterdir()) == []
    assert caplog.records == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "reason"), [(sparse, "cannot write its optimized form"), (drawn, "answers differently")]
)
def test_a_model_that_cannot_be_shared_is_logged_and_tried_twice_only(
    tmp_path, folder, caplog, build, reason
):
    bundle = build(tmp_path / "bundle")
    for _ in range(2):
        assert load_shared(bundle, folder, threads=1) is None
        assert reason in only_warning(caplog)
        assert only_warning(caplog).startswith("the weights of iris are not shared between workers: ")
        assert copies(folder) == []
        caplog.clear()
    assert load_shared(bundle, folder, threads=1) is None
    assert "2 workers have failed to prepare it" in only_warning(caplog)
    load_runtime(bundle, threads=1).close()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["missing", "/proc"])
def test_a_folder_that_cannot_be_written_logs_a_warning(tmp_path, caplog, place):
    assert load_shared(matrix(tmp_path / "bundle"), tmp_path / place) is None
    assert "lock`: No such file" in only_warning(caplog) or "lock`: Permission" in only_warning(caplog)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Have every larger write fail, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1_000, 1_000_000, 35_839_000, 35_839_999])
def test_an_incomplete_copy_is_removed(tmp_path, folder, caplog, size):
    bundle = matrix(tmp_path / "bundle")
    with files_of_at_most(size):
        assert load_shared(bundle, folder, threads=1) is None
    assert "not shared" in only_warning(caplog)
    assert copies(folder) == []
    runtime = load_shared(bundle, folder, threads=1)
    assert runtime is not None
    weights_file = folder / copies(folder)[0] / "weights.bin"
    assert weights_file.stat().st_size == 35_840_000
    runtime.close()


@pytest.mark.slow
def test_a_truncated_copy_is_not_opened(tmp_path, folder, caplog):
    bundle = matrix(tmp_path / "bundle")
    made = load_shared(bundle, folder, threads=1)
    assert made is not None
    file = folder / copies(folder)[0] / "weights.bin"
    os.truncate(file, file.stat().st_size - 1)
    assert load_shared(bundle, folder, threads=1) is None
    assert "expected 35840000 bytes written, found 35839999" in only_warning(caplog)
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "warning"),
    [
        (Space(disk=10**15, memory=0), "MB free in `"),
        (Space(disk=0, memory=2**60), "of free memory to prepare it"),
    ],
)
def test_too_little_disk_or_memory_is_noticed_before_copying(tmp_path, folder, caplog, space, warning):
    bundle = matrix(tmp_path / "bundle")
    assert open_with_shared_weights(bundle, folder, threads=1, space=space) is None
    assert warning in only_warning(caplog)
    assert copies(folder) == []


@pytest.mark.slow
def test_a_copy_is_kept_while_any_runtime_has_it_open(tmp_path, folder):
    bundle = matrix(tmp_path / "bundle")
    first, second = (load_shared(bundle, folder, threads=1) for _ in range(2))
    assert first is not None
    assert second is not None
    file = folder / copies(folder)[0] / "weights.bin"
    first.close()
    first.close()
    written = file.stat().st_mtime_ns
    third = load_shared(bundle, folder, threads=1)
    assert third is not None
    second.close()
    assert file.stat().st_mtime_ns == written
    answer = bits(third.run(bundle.samples().inputs))
    third.close()
    assert copies(folder) == []
    again = load_shared(bundle, folder, threads=1)
    assert again is not None
    assert bits(again.run(bundle.samples().inputs)) == answer
    again.close()


@pytest.mark.slow
def test_a_copy_removed_from_outside_is_made_again_and_its_users_continue(tmp_path, folder):
    bundle = matrix(tmp_path / "bundle")
    first = load_shared(bundle, folder, threads=1)
    assert first is not None
    answer = bits(first.run(bundle.samples().inputs))
    (folder / copies(folder)[0]).rename(tmp_path / "aside")
    second = load_shared(bundle, folder, threads=1)
    assert second is not None
    assert bits(first.run(bundle.samples().inputs)) == bits(second.run(bundle.samples().inputs)) == answer
    second.close()
    first.close()
    assert copies(folder) == []


OPEN_SHARED = """
import sys
from pathlib import Path
from lading.bundle import Bundle
from lading.runtime.open import load_shared
runtime = load_shared(Bundle.open(sys.argv[1]), Path(sys.argv[2]), threads=1)
print("shared" if runtime else "alone", flush=True)
sys.stdin.read()
"""


KILLED_WHILE_COPYING = f"""
import os, signal, sys

def kill_at_the_copy(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".making"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill_at_the_copy)
{OPEN_SHARED}
"""


def start_process(bundle: Bundle, folder: Path, program: str = OPEN_SHARED) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(bundle.path), str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_concurrent_processes_make_one_copy(tmp_path, folder):
    bundle = matrix(tmp_path / "bundle")
    processes = [start_process(bundle, folder) for _ in range(3)]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["shared\n"] * 3
    assert len(copies(folder)) == 1
    for process in processes[:2]:
        process.communicate()
        process.kill()
    assert len(copies(folder)) == 1
    processes[2].kill()
    processes[2].communicate()
    other = matrix(tmp_path / "other", columns=71_000)
    runtime = load_shared(other, folder, threads=1)
    assert runtime is not None
    # The copy of the killed process is gone as well.
    assert copies(folder) == [other.digest.removeprefix("sha256:")]
    runtime.close()


@pytest.mark.slow
def test_the_unfinished_copy_of_a_killed_process_is_made_again(tmp_path, folder):
    bundle = matrix(tmp_path / "bundle")
    process = start_process(bundle, folder, KILLED_WHILE_COPYING)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert copies(folder) == [f"{bundle.digest.removeprefix('sha256:')}.making"]
    runtime = load_shared(bundle, folder, threads=1)
    assert runtime is not None
    assert copies(folder) == [bundle.digest.removeprefix("sha256:")]
    assert [path for path in folder.iterdir() if path.is_file()] == []
    runtime.close()
    assert copies(folder) == []
