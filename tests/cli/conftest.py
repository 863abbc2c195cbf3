"""A registry for each test, and the command line run in this process; journeys run it as people do."""

from __future__ import annotations

import os

import pytest

from lading.cli import main
from lading.registry import Registry
from lading.runtime.host.fingerprint import fingerprint
from support.bundles import linear_bundle
from support.recorded_evidence import record_evidence


@pytest.fixture(autouse=True)
def registry(tmp_path, monkeypatch):
    """Return the folder of the test's own registry; nothing of the developer's environment is used."""
    for name in [name for name in os.environ if name.startswith("LADING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LADING_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("LADING_GRPC_PORT", "0")  # Servers of other tests may run at the same time.
    monkeypatch.chdir(tmp_path)
    return tmp_path / "registry"


@pytest.fixture
def lading(capsys):
    """Return a function that runs one command line and returns its exit code, stdout and stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


@pytest.fixture
def filled(bundle, tmp_path, registry):
    """Push two versions of iris, the first tagged `stable`; return the registry's folder."""
    with Registry.open(str(registry)) as opened:
        opened.push(bundle, tags=("stable",))
        opened.push(linear_bundle(tmp_path / "second.bundle", seed=1))
    return registry


@pytest.fixture
def opened(filled):
    """Return the registry, open, with two versions of iris."""
    with Registry.open(str(filled)) as registry:
        yield registry


@pytest.fixture
def proved(opened):
    """Return the registry with evidence that both versions hold here, which takes a second each to get."""
    for ref in ("iris:1", "iris:2"):
        record_evidence(opened, ref, fingerprint())
    return opened


@pytest.fixture
def ci(lading, tmp_path):
    """Make a key and return the file of its private half."""
    assert lading("key", "new", "ci.pem")[0] == 0
    return tmp_path / "ci.pem"
