"""What a server reports about itself, and which packages are installed."""

from __future__ import annotations

import os
from importlib import metadata

import lading
from lading.inventory import describe, installed_packages
from lading.inventory.describe import changed_settings, normalized
from lading.runtime.host.fingerprint import fingerprint
from lading.runtime.host.memory import memory_limit
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.server_status import status_of


def test_installed_packages_are_those_of_importlib_metadata():
    expected: dict[str, str] = {}
    for distribution in metadata.distributions():
        expected.setdefault(normalized(distribution.name), distribution.version)
    assert installed_packages() == expected


def test_packages_are_recognised_in_every_form_that_installers_write(tmp_path):
    for name in (
        "PyYAML-6.0.dist-info",
        "zope.interface-5.4-py3.11.egg-info",
        "a_b-1!2.0+cpu.dist-info",
        "x.py",
    ):
        (tmp_path / name).mkdir()
    assert installed_packages([str(tmp_path), str(tmp_path / "none")]) == {
        "a-b": "1!2.0+cpu",
        "pyyaml": "6.0",
        "zope-interface": "5.4",
    }


def test_a_server_reports_what_it_runs_on_and_what_it_serves(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    replica = describe(status_of(served_from(bundle, version=3)))
    here = fingerprint()
    assert (replica.id, replica.address, replica.grpc_address) == (
        "web-1", "http://web:8000", "grpc://web:8001",
    )  # fmt: skip
    runtime = (replica.python, replica.onnxruntime, replica.fingerprint)
    assert runtime == (here.python, here.onnxruntime, here.id)
    assert replica.lading == lading.__version__
    assert replica.packages["numpy"] == here.numpy
    assert "CPUExecutionProvider" in replica.providers
    assert replica.cpus >= 1
    assert replica.memory_bytes == memory_limit() > 100e6
    assert replica.kernel.split()[1] == os.uname().release
    assert replica.started_at == "2027-01-15T08:00:00Z"
    (model,) = replica.models
    assert (model.name, model.version, model.digest, model.state) == ("iris", 3, bundle.digest, "ready")
    assert (model.purpose, model.owner) == ("classification", "ml@example.com")
    assert model.input_format == "X: float32 [batch, 4]"
    assert (model.requests, model.last_request_at) == (0, None)
    assert describe(status_of(), replica).packages is replica.packages, "constant facts are read once"


def test_only_settings_that_differ_from_the_defaults_are_reported():
    assert changed_settings(ServeSettings(port=0, workers=2)) == {"port": "0", "workers": "2"}
    assert changed_settings(ServeSettings()) == {}
