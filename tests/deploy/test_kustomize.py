"""Kustomize folders: the base is lading's, the overlays are the user's."""

from __future__ import annotations

import json

import msgspec
import pytest
import yaml

from lading.deploy import Options, Scaling, workload
from lading.deploy.batch import BatchJob, batch_manifests
from lading.deploy.canary import canary_manifests
from lading.deploy.kubernetes import manifests
from lading.deploy.kustomize import write_kustomize
from lading.deploy.yamltext import plain
from lading.errors import InvalidSetting
from support.workloads import IMAGE, release, version, work


def test_a_model_named_like_a_candidate_has_objects_and_kustomize_files_of_its_own(tmp_path):
    """`iris-canary` has a candidate itself, beside `iris`, which has one too."""
    of_iris = canary_manifests(work(), work(number=2, side="candidate"), release(), "gateway")
    options = Options(pattern="load", image=IMAGE)
    workloads = {
        side: workload(version(number, "iris-canary"), options, [], side)
        for number, side in ((1, "live"), (2, "candidate"))
    }
    renamed = msgspec.structs.replace(release(), name="iris-canary")
    of_other = canary_manifests(workloads["live"], workloads["candidate"], renamed, "gateway")
    first, second = (
        {(manifest["kind"], manifest["metadata"]["name"]) for manifest in plain(manifests)}
        for manifests in (of_iris, of_other)
    )
    assert first & second == {("Namespace", "models")}
    written = write_kustomize(tmp_path, of_other, "models")
    assert len({*written}) == len(written)
    listed = yaml.safe_load((tmp_path / "base/kustomization.yaml").read_text())["resources"]
    assert len({*listed}) == len(of_other)
    read = [yaml.safe_load((tmp_path / "base" / name).read_text()) for name in listed]
    assert read == plain(of_other)


def test_a_kustomize_folder_keeps_the_changes_of_the_user(tmp_path):
    folder = tmp_path / "iris"
    write_kustomize(folder, manifests(work()), "models")
    staging = folder / "overlays/staging/kustomization.yaml"
    staging.write_text("mine")
    (folder / "base/deployment.yaml").write_text("stale")
    written = write_kustomize(folder, manifests(work(number=2)), "models")
    assert staging.read_text() == "mine"
    assert staging not in written
    assert 'version: "2"' in (folder / "base/deployment.yaml").read_text().replace("'", '"')
    listed = yaml.safe_load((folder / "base/kustomization.yaml").read_text())["resources"]
    assert {path.name for path in (folder / "base").iterdir()} == {*listed, "kustomization.yaml"}


@pytest.mark.parametrize(("by", "least"), [("cpu", "minReplicas"), ("keda", "minReplicaCount")])
def test_staging_has_fewer_pods_by_whatever_sets_their_number(tmp_path, by, least):
    scaling = Scaling(by=by, prometheus="http://prometheus:9090")
    write_kustomize(tmp_path, manifests(work(scaling=scaling)), "models")
    (patch,) = yaml.safe_load((tmp_path / "overlays/staging/kustomization.yaml").read_text())["patches"]
    operations = {entry["path"]: entry["value"] for entry in json.loads(patch["patch"])}
    assert operations[f"/spec/{least}"] == 1
    assert (tmp_path / "base" / f"{patch['target']['kind'].lower()}.yaml").exists()


def test_a_batch_run_has_nothing_that_staging_could_have_fewer_of(tmp_path):
    job = BatchJob(inputs=("s3://a",), output="s3://b", schedule="@daily")
    write_kustomize(tmp_path, batch_manifests(work(), job), "models")
    assert "patches" not in yaml.safe_load((tmp_path / "overlays/staging/kustomization.yaml").read_text())
    assert (tmp_path / "base/cronjob.yaml").exists()


def test_a_kustomize_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidSetting, match="a writable folder"):
        write_kustomize(tmp_path / "file", manifests(work()), "models")
