"""Prepared copies of models: what is shared, bit for bit; who makes one and who removes it; what is not."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lading.bundle import Bundle
from lading.runtime import load_runtime, load_shared
from lading.runtime.host.memory import lies_in_memory, memory_available
from lading.runtime.onnx import shared_weights as prepared
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
    words,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let what the log says reach the test: a server of another test may have set logging up."""
    logger = logging.getLogger("lading")
    before, logger.propagate = logger.propagate, True
    yield
    logger.propagate = before


def copies(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.is_dir())


def warned(caplog: pytest.LogCaptureFixture) -> str:
    """Give the one warning there is."""
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1, said
    return said[0]


def bits(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: one.tolist() if one.dtype == object else one.tobytes() for name, one in arrays.items()}


# What is shared.


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "build",
    [matrix, odd_sizes, quantized, convolutions, recurrent, half_precision, embeddings, branches, words],
)
def test_a_copy_answers_as_the_model_to_the_last_bit(tmp_path, folder, caplog, build, threads):
    bundle = build(tmp_path / "bundle")
    usual = load_runtime(bundle, threads=threads)
    expected = usual.run(bundle.samples().inputs)
    usual.close()
    made, opened = (load_shared(bundle, folder, threads=threads) for _ in range(2))
    assert made is not None, caplog.text
    assert opened is not None, caplog.text
    for runtime in (made, opened):
        assert (runtime.inputs, runtime.outputs) == (usual.inputs, usual.outputs)
        for _ in range(3):  # The second run goes through bound buffers.
            assert bits(runtime.run(bundle.samples().inputs)) == bits(expected)
        runtime.close()
    assert caplog.records == []
    assert copies(folder) == []


@pytest.mark.slow
def test_weights_in_external_data_are_shared_as_well(tmp_path, folder):
    import onnx

    from lading.bundle import Draft, write_bundle

    inside = matrix(tmp_path / "inside")
    beside = tmp_path / "weights.bin"
    saved = tmp_path / "model.onnx"
    onnx.save(onnx.load(inside.model_path), saved, save_as_external_data=True, location=beside.name)
    draft = Draft(**{name: getattr(inside.manifest, name) for name in Draft.__struct_fields__})
    bundle = write_bundle(
        tmp_path / "outside",
        draft,
        model=saved,
        samples=inside.samples(),
        requirements=(inside.path / "requirements.txt").read_text(),
        external={beside.name: beside},
    )
    assert inside.weights_bytes() == pytest.approx(bundle.weights_bytes(), rel=0.001)
    runtime = load_shared(bundle, folder, threads=1)
    assert runtime is not None
    assert bits(runtime.run(bundle.samples().inputs)) == bits(inside.samples().outputs)
    runtime.close()


# What is not.


def test_a_small_model_is_loaded_by_everybody(tmp_path, folder, caplog):
    assert load_shared(linear_bundle(tmp_path / "iris"), folder) is None
    assert list(folder.iterdir()) == []
    assert caplog.records == []


def test_a_model_of_many_small_tensors_is_loaded_by_everybody(tmp_path, folder, caplog):
    bundle = small_tensors(tmp_path / "bundle")
    assert bundle.weights_bytes() > prepared.SHARED_FROM_BYTES
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
    assert bundle.manifest.files["model.onnx"].size > prepared.SHARED_FROM_BYTES
    assert bundle.weights_bytes() < 1000
    assert load_shared(bundle, folder) is None
    assert list(folder.iterdir()) == []
    assert caplog.records == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "why"), [(sparse, "cannot write its optimized form"), (drawn, "answers otherwise")]
)
def test_what_cannot_be_shared_is_said_and_tried_by_two_only(tmp_path, folder, caplog, build, why):
    bundle = build(tmp_path / "bundle")
    for _ in range(2):
        assert load_shared(bundle, folder, threads=1) is None
        assert why in warned(caplog)
        assert warned(caplog).startswith("the weights of iris are not shared between workers: ")
        assert copies(folder) == []
        caplog.clear()
    assert load_shared(bundle, folder, threads=1) is None
    assert "2 workers have failed to prepare it" in warned(caplog)
    load_runtime(bundle, threads=1).close()


@pytest.mark.parametrize("place", ["missing", "/proc"])
def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, caplog, place):
    assert load_shared(matrix(tmp_path / "bundle"), tmp_path / place) is None
    assert "lock`: No such file" in warned(caplog) or "lock`: Permission" in warned(caplog)


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
def test_a_copy_that_is_written_half_is_removed(tmp_path, folder, caplog, size):
    bundle = matrix(tmp_path / "bundle")
    with files_of_at_most(size):
        assert load_shared(bundle, folder, threads=1) is None
    assert "not shared" in warned(caplog)
    assert copies(folder) == []
    runtime = load_shared(bundle, folder, threads=1)
    assert runtime is not None
    weights_file = folder / copies(folder)[0] / "weights.bin"
    assert weights_file.stat().st_size == 35_840_000
    runtime.close()


@pytest.mark.slow
def test_a_copy_that_lost_its_end_is_not_opened(tmp_path, folder, caplog):
    bundle = matrix(tmp_path / "bundle")
    made = load_shared(bundle, folder, threads=1)
    assert made is not None
    file = folder / copies(folder)[0] / "weights.bin"
    os.truncate(file, file.stat().st_size - 1)
    assert load_shared(bundle, folder, threads=1) is None
    assert "expected 35840000 bytes written, found 35839999" in warned(caplog)
    made.close()


def test_a_full_disk_and_a_full_memory_are_found_out_before(tmp_path, folder, caplog, monkeypatch):
    bundle = matrix(tmp_path / "bundle")
    # Nobody fills the disk or the memory of the machine for a test: a weight is made to take more instead.
    monkeypatch.setattr(prepared, "_GROWTH", 1e9)
    assert load_shared(bundle, folder) is None
    assert "MB free in `" in warned(caplog)
    caplog.clear()
    monkeypatch.setattr(prepared, "memory_needed", lambda _size: 2**60)
    monkeypatch.setattr(prepared, "_GROWTH", 1)
    assert load_shared(bundle, folder) is None
    assert "of free memory to prepare it" in warned(caplog)
    assert copies(folder) == []


# Who makes it, and who removes it.


@pytest.mark.slow
def test_a_copy_is_there_for_as_long_as_anybody_has_it_open(tmp_path, folder):
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
def test_a_copy_removed_from_outside_is_made_again_and_who_has_it_goes_on(tmp_path, folder):
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


MAKER = """
import sys
from pathlib import Path
from lading.bundle import Bundle
from lading.runtime import load_shared
runtime = load_shared(Bundle.open(sys.argv[1]), Path(sys.argv[2]), threads=1)
print("shared" if runtime else "alone", flush=True)
sys.stdin.read()
"""


def maker(bundle: Bundle, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKER, str(bundle.path), str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_that_ask_at_once_make_one_copy(tmp_path, folder):
    bundle = matrix(tmp_path / "bundle")
    makers = [maker(bundle, folder) for _ in range(3)]
    assert [one.stdout.readline() for one in makers if one.stdout] == ["shared\n"] * 3
    assert len(copies(folder)) == 1
    for one in makers[:2]:
        one.communicate()
        one.kill()
    assert len(copies(folder)) == 1
    makers[2].kill()
    makers[2].communicate()
    other = matrix(tmp_path / "other", columns=71_000)
    runtime = load_shared(other, folder, threads=1)
    assert runtime is not None
    # What the killed one left is gone as well.
    assert copies(folder) == [other.digest.removeprefix("sha256:")]
    runtime.close()


@pytest.mark.slow
def test_a_killed_maker_leaves_nothing_half_and_the_next_makes_it(tmp_path, folder):
    bundle = matrix(tmp_path / "bundle", 1_600, 32_000)
    process = maker(bundle, folder)
    until = time.monotonic() + 20
    while not any(one.endswith(".making") for one in copies(folder)):
        assert time.monotonic() < until
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert copies(folder) == [f"{bundle.digest.removeprefix('sha256:')}.making"]
    runtime = load_shared(bundle, folder, threads=1)
    assert runtime is not None
    assert copies(folder) == [bundle.digest.removeprefix("sha256:")]
    assert sorted(one.name for one in folder.iterdir() if one.is_file()) == ["lock"]
    runtime.close()
    assert copies(folder) == []


# Memory.


def test_a_tmpfs_takes_memory_and_a_disk_does_not(tmp_path):
    assert lies_in_memory(Path("/dev/shm")) == (" /dev/shm tmpfs " in Path("/proc/mounts").read_text())
    assert not lies_in_memory(Path("/proc"))


def test_files_that_the_kernel_takes_back_do_not_count_as_memory_in_use(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    group = [(str(tmp_path / "memory.max"), str(tmp_path / "memory.current"))]
    assert memory_available(group) == 100
    (tmp_path / "memory.stat").write_text("anon 200\nactive_file 50\ninactive_file 650\n")
    assert memory_available(group) == 750
