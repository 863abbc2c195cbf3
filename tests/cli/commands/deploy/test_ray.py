"""``lading deploy ray`` without Ray: what it writes, and what it says without the extra."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from lading.cli import main
from lading.deploy.ray_config import NODE_ENVIRONMENT
from lading.registry import Registry
from support.bundles import linear_bundle


@pytest.fixture
def pushed(tmp_path, monkeypatch):
    """Return a registry with a version of iris."""
    url = str(tmp_path / "registry")
    monkeypatch.setenv("LADING_REGISTRY", url)
    with Registry.open(url) as opened:
        yield opened.push(linear_bundle(tmp_path / "iris.bundle"))


def arguments_of(printed: str) -> dict:
    (application,) = yaml.safe_load(printed)["applications"]
    return application["args"]


def test_a_reference_is_written_by_its_digest_with_the_registry_it_is_in(pushed, tmp_path, capsys):
    assert main(["deploy", "ray", "iris"]) == 0
    arguments = arguments_of(capsys.readouterr().out)
    assert arguments["refs"] == [f"iris@{pushed.digest}"]
    assert arguments["registry"] == str(tmp_path / "registry")


def test_without_a_model_replicas_follow_the_releases(pushed, capsys):
    assert main(["deploy", "ray", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["applications"][0]["args"]["refs"] == []


def test_a_folder_is_named_as_every_node_finds_it(tmp_path, monkeypatch, capsys):
    linear_bundle(tmp_path / "iris.bundle")
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", "ray", "./iris.bundle"]) == 0
    arguments = arguments_of(capsys.readouterr().out)
    assert (arguments["refs"], arguments["registry"]) == ([str(tmp_path / "iris.bundle")], "")


def test_a_password_is_not_written_down(monkeypatch, capsys):
    monkeypatch.setenv("LADING_REGISTRY", "postgresql://lading:secret@db.example.com/lading")
    assert main(["deploy", "ray"]) == 0
    output = capsys.readouterr()
    assert "secret" not in output.out
    assert arguments_of(output.out)["registry"] == ""
    assert "every node needs LADING_REGISTRY" in output.err


def test_the_variables_of_nodes_are_lines_that_a_shell_takes(capfd):
    assert main(["deploy", "ray", "--node-env"]) == 0
    lines = capfd.readouterr().out
    script = 'printf "%s" "$RAY_SERVE_HAPROXY_RETRY_ON"'
    taken = subprocess.run(["sh", "-c", f"{lines}{script}"], capture_output=True, text=True, check=True)
    assert taken.stdout == NODE_ENVIRONMENT["RAY_SERVE_HAPROXY_RETRY_ON"]
    assert main(["deploy", "ray", "--node-env", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == NODE_ENVIRONMENT


def test_running_it_needs_the_extra(pushed, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)  # As if it were not installed.
    monkeypatch.delitem(sys.modules, "lading.deploy.ray_serve", raising=False)
    assert main(["deploy", "ray", "iris", "--apply"]) == 2
    assert "pip install 'lading-ml[ray]'" in capsys.readouterr().err


def test_an_address_without_apply_is_a_usage_error(pushed, capsys):
    assert main(["deploy", "ray", "iris", "--ray-address", "10.0.0.5:6379"]) == 2
    assert "`--ray-address` needs `--apply`" in capsys.readouterr().err
