"""Container engines: which one runs an image, and what is made of its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from lading.errors import ServerUnavailable, UsageError
from lading.image.engine import Engine, find_engine


def test_docker_only_runs_images_of_registries(only_docker):
    assert find_engine("registry.lan/iris:1") == Engine(str(only_docker))
    assert find_engine("oci:out:iris") is None
    assert find_engine("docker-archive:iris.tar") is None


def fake_engine(folder: Path, cases: str) -> Engine:
    """Return an engine whose program answers its first argument as the shell's `cases` say."""
    program = folder / "podman"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\ncase "$1" in\n{cases}\nesac\n')
    program.chmod(0o755)
    return Engine(str(program))


def test_the_address_of_a_container_is_read_from_its_log(tmp_path):
    log = "listening on http://0.0.0.0:45231 (documentation: /docs)"
    engine = fake_engine(tmp_path, f"run) echo c1;; logs) echo '{log}' >&2;;")
    container = engine.start(
        "iris:1", ("serve",), environ={"LADING_PORT": "0"}, folders={tmp_path: "/reference"}
    )
    assert (container.id, container.url()) == ("c1", "http://127.0.0.1:45231")
    (run, *_) = (tmp_path / "calls").read_text().splitlines()
    for option in (
        "--read-only",
        "--cap-drop=all",
        "--env=LADING_PORT=0",
        f"--volume={tmp_path}:/reference:ro",
    ):
        assert option in run.split()
    assert run.endswith("iris:1 serve")


def test_a_container_that_exits_before_it_listens_is_reported_with_its_log(tmp_path):
    engine = fake_engine(tmp_path, "run) echo c1;; logs) echo 'no bundle here';; inspect) echo false;;")
    container = engine.start("iris:1", ("serve",), environ={})
    with pytest.raises(ServerUnavailable, match="found no bundle here"):
        container.url()


@pytest.mark.parametrize(("state", "code"), [("3", 3), ("", -1)])
def test_stopping_a_container_removes_it_and_returns_its_exit_code(tmp_path, state, code):
    engine = fake_engine(tmp_path, f"run) echo c1;; inspect) echo '{state}';;")
    assert engine.start("iris:1", ("serve",), environ={}).stop() == code
    calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == ["run", "stop", "inspect", "rm"]


def test_an_image_that_is_only_here_needs_no_pull(tmp_path):
    engine = fake_engine(tmp_path, "image) echo sha256:ab;; pull) exit 1;;")
    assert engine.pull("localhost/iris:1", insecure=False) == "sha256:ab"


def test_output_is_returned_whatever_the_exit_code_and_none_is_an_error(tmp_path):
    engine = fake_engine(tmp_path, "run) echo evidence; exit 1;;")
    assert engine.output("iris:1", ("verify",)) == "evidence\n"
    engine = fake_engine(tmp_path, "run) echo 'no such image' >&2; exit 125;;")
    with pytest.raises(UsageError, match="`verify` in the image: expected output, found no such image"):
        engine.output("iris:1", ("verify",))
