"""What does not hold is refused: with a sentence that names it, an exit code, and nothing half done."""

from __future__ import annotations

import fcntl
import shutil
import signal
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest

from lading.client import Client
from lading.errors import ServerUnavailable
from support.bundles import linear_bundle
from support.forged_bundles import rewrite
from support.server_process import serving
from support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def bundle(shell):
    return linear_bundle(shell.folder / "iris.bundle")


@pytest.mark.parametrize("name", ["model.onnx", "samples.npz", "requirements.txt", "bundle.json"])
def test_a_flipped_byte_is_detected_and_its_file_named(shell, bundle, name):
    file = bundle.path / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    for line in ("verify", "inspect", "push", "serve --port 0", "predict --sample"):
        assert name in shell.refused(f"lading {line} ./iris.bundle"), line
    assert shell.must("lading list --json").json == {"models": []}


def changed_golden(bundle, path):
    """Copy a bundle with other golden outputs than its model gives, and every digest repaired."""
    copied = shutil.copytree(bundle.path, path)
    with np.load(copied / "samples.npz") as archive:
        arrays = dict(archive)
    arrays["output_1"][3] += 0.25
    np.savez(copied / "samples.npz", **arrays)
    return rewrite(copied)


def test_changed_golden_outputs_are_reported_with_output_row_expected_and_found(shell, bundle):
    changed_golden(bundle, shell.folder / "forged.bundle")
    for line in ("verify", "predict --sample"):
        done = shell.run(f"lading {line} ./forged.bundle")
        assert done.code == 1
        for text in ("probabilities", "row 3"):
            assert text in done.out + done.stderr, line


def test_a_server_with_changed_golden_outputs_never_becomes_ready(shell, bundle):
    path = changed_golden(bundle, shell.folder / "forged.bundle")
    with serving(path, ready=False, environ=shell.environ) as server, Client(server.url) as client:
        server.wait_until(lambda: client.health()["health"] == "failed")
        assert "row 3" in client.health()["reason"]
        with pytest.raises(ServerUnavailable, match="row 3"):
            client.predict([[1.0, 2.0, 3.0, 4.0]])
        shell.write("rows.json", "[[1, 2, 3, 4]]")
        assert "row 3" in shell.refused(f"lading predict {server.url} --input rows.json", code=4)


def test_a_version_that_fails_stays_in_the_matrix(shell, bundle):
    changed_golden(bundle, shell.folder / "forged.bundle")
    shell.must("lading push forged.bundle")
    assert shell.run("lading verify iris:1").code == 1
    shell.must("lading push iris.bundle")
    shell.must("lading verify iris:2")
    _, forged, good = (line.split() for line in shell.must("lading matrix iris").out.splitlines())
    assert (forged[0], forged[3]) == ("iris:1", "fails:")
    assert good == ["iris:2", "no", "–", "holds"]
    cells = shell.must("lading matrix --json").json["evidence"]
    assert [(cell["ref"], cell["holds"]) for cell in cells] == [("iris:1", False), ("iris:2", True)]


def test_server_and_bundle_refuse_invalid_values_with_the_same_message(shell, bundle):
    with serving(bundle.path, environ=shell.environ) as server:
        for row in (
            '[["a",2,3,4]]',
            "[[1,2,3]]",
            "[]",
            "[[null,2,3,4]]",
            "[[1e39,2,3,4]]",
            '[{"sepal_length":1}]',
        ):
            shell.write("rows.json", row)
            remote = shell.refused(f"lading predict {server.url} --input rows.json")
            assert remote == shell.refused("lading predict ./iris.bundle --input rows.json")


def test_a_missing_model_or_version_ends_with_3(shell, bundle):
    shell.must("lading push iris.bundle")
    for line in ("show iris:9", "verify irsi", "serve iris:9 --port 0", "predict iris:none --sample"):
        shell.refused(f"lading {line}", code=3)
    with serving(bundle.path, environ=shell.environ) as server:
        shell.write("rows.json", "[[1, 2, 3, 4]]")
        shell.refused(f"lading predict {server.url} --model irsi --input rows.json", code=3)


def test_an_existing_destination_is_not_changed(shell, bundle):
    shell.must("lading push iris.bundle && lading pull iris:1 --to pulled && touch pulled/mine")
    assert "pulled" in shell.refused("lading pull iris:1 --to pulled")
    assert (shell.folder / "pulled" / "mine").exists()


def test_a_registry_that_cannot_be_opened_is_reported(shell):
    shell.write("file", "not a folder")
    done = shell.run("lading list --registry file/below")
    assert done.code in (2, 4)
    assert "Traceback" not in done.stderr
    assert "file" in done.stderr


def test_an_interrupt_is_quiet(shell, bundle):
    environ = {**shell.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "lading", "predict", str(bundle.path), "--input", "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell that runs the tests in the background has them ignore the signal, and children inherit that.
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    process = subprocess.Popen(command, env=environ, text=True, preexec_fn=heed, **pipes)  # noqa: PLW1509
    process.stdin.write("[")
    process.stdin.flush()
    unread = lambda: struct.unpack("i", fcntl.ioctl(process.stdin, termios.FIONREAD, b"0000"))[0]  # noqa: E731
    wait_until(lambda: not unread(), 20, "the command has read that, and waits for more")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip()) == (130, "", "")
