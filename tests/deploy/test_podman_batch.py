"""The pod of a Job run by ``podman play kube``: killed in the middle, and another one that goes on."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import yaml

from lading.deploy.pod import USER
from support.batch_runs import COLUMNS
from support.bundles import linear_bundle
from support.images import lading, run, runtime_base
from support.waiting import wait_until

# Its image has pyarrow, which takes a minute to put there.
pytestmark = [pytest.mark.slow, pytest.mark.wide, pytest.mark.xdist_group("containers")]

CLAIM = "rows"
FILES, ROWS = 12, 20_000
ENV = "LADING_REGISTRY"


@pytest.fixture
def data(podman, tmp_path: Path) -> Path:
    """Return the folder of the volume, with rows to score that belong to the user of the pods."""
    run("podman", "volume", "create", CLAIM)
    folder = Path(run("podman", "volume", "inspect", "--format", "{{.Mountpoint}}", CLAIM).strip())
    (folder / "in").mkdir()
    draw = np.random.default_rng(0)
    for number in range(FILES):
        table = pa.table({name: draw.random(ROWS, dtype="float32") for name in COLUMNS})
        pa.parquet.write_table(table, folder / "in" / f"{number:02}.parquet", row_group_size=ROWS)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)
    yield folder
    run("podman", "volume", "rm", "--force", CLAIM)


@pytest.fixture
def template(podman, oci_server, tmp_path: Path) -> Any:
    """Return the pod of the Job that `lading deploy kubernetes --batch` prints."""
    environ = {ENV: str(tmp_path / "registry")}
    ref = lading("push", linear_bundle(tmp_path / "iris.bundle").path, environ=environ).strip()
    to = f"{oci_server.address}/batch/iris"
    base = runtime_base("batch.txt")
    built = json.loads(lading("image", "build", ref, "--base", base, "--to", to, "--json", environ=environ))
    image = ("--pattern", "in-image", "--image", f"{to}@{built['digest']}")
    place = ("--data-claim", CLAIM, "--input", "/data/in", "--output", "/data/scored")
    printed = lading("deploy", "kubernetes", ref, *image, "--batch", *place, environ=environ)
    job = next(each for each in yaml.safe_load_all(printed) if each["kind"] == "Job")
    return job["spec"]["template"]


def play(folder: Path, template: Any, name: str) -> str:
    """Start a pod as the Job would; return the name of its container. podman 4.3 knows no Jobs."""
    pod = {"apiVersion": "v1", "kind": "Pod", **json.loads(json.dumps(template))}
    # podman 4.3 takes no annotation of a pod that is longer than a label may be.
    pod["metadata"] = {"name": name, "labels": template["metadata"]["labels"]}
    pod["spec"]["hostNetwork"] = True
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(pod))
    run("podman", "play", "kube", "--quiet", str(path))
    return f"{name}-batch"


def remove(folder: Path, name: str) -> None:
    subprocess.run(["podman", "pod", "rm", "--force", name], capture_output=True, check=False)


def test_a_pod_goes_on_where_one_was_that_was_killed(template, data, tmp_path):
    done = data / "scored" / ".lading" / "done"
    try:
        first = play(tmp_path, template, "first")
        template_of = "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}"
        assert run("podman", "inspect", "--format", template_of, first).strip() == f"{USER}:{USER} true"
        wait_until(lambda: done.is_dir() and len(list(done.glob("*.json"))) >= 2, 60)
        run("podman", "kill", "--signal", "KILL", first)
        assert run("podman", "wait", first).strip() == "137"
        assert not (data / "scored" / "manifest.json").exists()
        kept = len(list(done.glob("*.json")))
        second = play(tmp_path, template, "second")
        assert run("podman", "wait", second).strip() == "0", run("podman", "logs", second)
        logs = subprocess.run(["podman", "logs", second], capture_output=True, text=True, check=True).stderr
        assert f"{kept} parts had been scored before" in logs
    finally:
        for name in ("first", "second"):
            remove(tmp_path, name)
    manifest = json.loads((data / "scored" / "manifest.json").read_text())
    assert (manifest["rows"], manifest["scored"]) == (FILES * ROWS, FILES * ROWS)
