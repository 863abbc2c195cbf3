"""Serving from the command line: its flags, what it imports, and the bundles of an image."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from lading.cli.commands.serve import background_tasks, bundles_in_image, check_jobs
from lading.errors import InvalidSetting, UsageError
from lading.evidence import Check, Evidence
from lading.ref import Ref
from lading.registry import Registry
from lading.runtime.host.fingerprint import fingerprint
from lading.settings import ServeSettings, variables
from support.bundles import linear_bundle
from support.server_process import serving


@pytest.mark.slow
def test_a_server_in_an_image_serves_its_bundles_without_a_registry(tmp_path):
    for seed, name in enumerate(("iris", "wine")):
        linear_bundle(tmp_path / "bundles" / name, name, seed=seed)
    environ = {"LADING_BUNDLES": str(tmp_path / "bundles"), "HOME": str(tmp_path / "home")}
    with serving(environ=environ) as server:
        server.wait_until(lambda: server.log.count("is ready") == 2)
        ready = [line for line in server.lines if "is ready" in line]
        assert [line.split("INFO ")[1].split(" is")[0] for line in ready] == ["iris", "wine"]
        assert server.stop() == 0
    # No registry is made at home; what is kept is that both models have run on this machine.
    kept = tmp_path / "home" / ".lading"
    assert [path.name for path in kept.iterdir()] == ["proofs"]
    assert len(list((kept / "proofs").iterdir())) == 2


@pytest.mark.slow
def test_references_take_precedence_over_the_bundles_of_the_image(tmp_path):
    linear_bundle(tmp_path / "bundles" / "iris")
    other = linear_bundle(tmp_path / "wine.bundle", "wine")
    with serving(other.path, environ={"LADING_BUNDLES": str(tmp_path / "bundles")}) as server:
        server.wait_until(lambda: "wine is ready" in server.log)
        assert "iris" not in server.log


IMAGE = "sha256:" + "a" * 64


def failed_evidence(bundle) -> Evidence:
    """Return evidence that a bundle failed in the image `IMAGE`, on the software of this process."""
    return Evidence(
        bundle=bundle.digest,
        name="iris",
        fingerprint=msgspec.structs.replace(fingerprint(), image=IMAGE),
        checks=(
            Check("equivalence", "failed", expected="bit-identical answers", found="3 of 304 rows differ"),
        ),
        numbers={},
        measured_at="2026-11-20T10:00:00+00:00",
    )


@pytest.mark.slow
@pytest.mark.parametrize("source", ["reference", "directory"])
def test_a_bundle_that_failed_on_this_image_is_refused_with_the_evidence(tmp_path, source):
    bundle = linear_bundle(tmp_path / "bundles" / "iris")
    url = str(tmp_path / "registry")
    with Registry.open(url) as registry:
        registry.push(bundle)
        registry.record(failed_evidence(bundle))
    environ = {"LADING_REGISTRY": url, "LADING_IMAGE": IMAGE, "LADING_BUNDLES": str(tmp_path / "bundles")}
    refs = ("iris:1",) if source == "reference" else ()
    with serving(*refs, environ=environ, ready=False) as server:
        server.wait_until(lambda: "refused" in server.log)
        health = httpx.get(f"{server.url}/health")
        assert health.status_code == 503
        assert "3 of 304 rows differ" in health.text
        assert IMAGE in health.text
    # There is no evidence against it on another image.
    with serving(*refs, environ={**environ, "LADING_IMAGE": "sha256:" + "b" * 64}) as server:
        server.wait_until(lambda: "is ready" in server.log)


@pytest.mark.slow
def test_serving_without_its_extra_says_what_to_install(lading, bundle, monkeypatch):
    # What Python documents for a module that cannot be imported; uninstalling it would harm other tests.
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    # Importing it again binds the attribute of the package again, too: it is put back with the modules.
    server = importlib.import_module("lading.server")
    monkeypatch.setattr(sys.modules["lading"], "server", server)
    for name in [name for name in sys.modules if name.startswith("lading.server")]:
        monkeypatch.delitem(sys.modules, name)
    code, _, stderr = lading("serve", bundle.path)
    assert code == 2
    assert "no module `uvicorn`" in stderr
    assert "hint: `pip install 'lading-ml[serve]'`\n" in stderr


def test_the_flags_of_serve_are_the_settings(lading):
    _, stdout, _ = lading("serve", "--help")
    text = " ".join(stdout.split())
    for field in dataclasses.fields(ServeSettings):
        assert f"--{field.name.replace('_', '-')} " in text
        assert f"env: {', '.join(variables(field))}]" in text
        assert field.metadata["help"] in text
        assert field.default == "" or f"default: {field.default};" in text


def test_an_invalid_environment_variable_of_serve_is_named(lading, monkeypatch, bundle):
    monkeypatch.setenv("LADING_MAX_QUEUE", "many")
    code, _, stderr = lading("serve", bundle.path)
    assert code == 2
    assert "`LADING_MAX_QUEUE`: expected a whole number, found `many`" in stderr


@pytest.mark.slow
def test_serving_imports_neither_tables_nor_a_client_nor_a_framework():
    """These are all the imports of `lading serve` before it listens; a reference adds the registry's."""
    code = "import sys, lading.cli.group, lading.server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"rich", "httpx", "sqlalchemy", "onnx", "sklearn", "skl2onnx", "pandas", "scipy"}


def test_the_remains_of_a_killed_pull_in_the_folder_of_bundles_are_not_served(tmp_path, monkeypatch):
    monkeypatch.setenv("LADING_BUNDLES", str(tmp_path))
    linear_bundle(tmp_path / "iris")
    shutil.copytree(tmp_path / "iris", tmp_path / ".iris.x.tmp")
    assert bundles_in_image() == (tmp_path / "iris",)


@pytest.mark.parametrize(
    ("refs", "has_registry", "count"),
    [((), False, 5), ((Ref("iris"),), False, 4), ((Path("iris"),), True, 4), ((Path("iris"),), False, 0)],
)
def test_only_a_server_that_follows_drives_rollouts_and_only_one_with_a_registry_reports_to_it(
    refs, has_registry, count
):
    assert len(list(background_tasks(refs, "registry", has_registry=has_registry))) == count


def test_jobs_need_a_registry_and_secrets_that_can_be_read(tmp_path):
    settings = ServeSettings(jobs="on", job_webhook_secret_file=str(tmp_path / "none"))
    check_jobs(ServeSettings(), (tmp_path,), has_registry=False)
    with pytest.raises(UsageError, match="`--jobs`: expected a registry, found bundles from directories"):
        check_jobs(settings, (tmp_path,), has_registry=False)
    with pytest.raises(InvalidSetting, match="job_webhook_secret_file"):
        check_jobs(settings, (), has_registry=False)


def test_a_trust_policy_that_is_wrong_fails_the_start_and_not_each_worker(lading, tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    (tmp_path / "trust.toml").write_text('[[modle]]\nnames = ["*"]\n')
    words = ("serve", bundle.path, "--port", "0", "--trust-policy", tmp_path / "trust.toml")
    for more in ((), ("--workers", "2")):
        code, _, stderr = lading(*words, *more)
        assert code == 2
        assert "expected `key`, `model`, found `modle`" in stderr
        assert "hint: did you mean `model`?" in stderr
