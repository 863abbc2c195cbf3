from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lading.errors import ExtraMissing
from lading.runtime.python.installers import (
    PipSettings,
    choose_installer,
    pip_runner,
    read_pip_settings,
    run_installer,
)

INDEX = "https://user:secret@index/simple"  # of the section that wins


@pytest.fixture
def configured(tmp_path, monkeypatch) -> PipSettings:
    """Settings of a file of pip, with the sections and variables that win over each other."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_FIND_LINKS", "/shared/wheels /more/wheels")
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = https://x/simple\ntrusted-host = index\ntarget = /elsewhere\n"
        f"find-links = /not/used\nno-index = false\nextra-index-url =\n    https://a/simple\n    https://b/simple\n"
        f"cert = /etc/ca.pem\n[install]\nindex-url = {INDEX}\nuser = true\n"
    )
    return read_pip_settings()


@pytest.mark.slow
def test_what_pip_is_configured_with_is_read_in_the_order_in_which_it_wins(configured):
    assert configured.options["index-url"] == INDEX
    assert configured.options["extra-index-url"].split() == ["https://a/simple", "https://b/simple"]
    assert configured.options["find-links"] == "/shared/wheels /more/wheels"
    assert {"target", "user"}.isdisjoint(configured.options)


@pytest.mark.slow
def test_pip_gets_where_packages_come_from_and_nothing_else(configured):
    environ = configured.for_pip({"PIP_TARGET": "/elsewhere", "PYTHONPATH": "/x", "HOME": "/h"})
    assert environ["PIP_INDEX_URL"] == INDEX
    assert environ["PIP_CONFIG_FILE"] == os.devnull
    assert environ["HOME"] == "/h"
    assert {"PIP_TARGET", "PIP_USER", "PYTHONPATH"}.isdisjoint(environ)


@pytest.mark.slow
def test_uv_gets_what_pip_is_configured_with(configured):
    environ = configured.for_uv({"UV_NO_VERIFY_HASHES": "1", "UV_CONSTRAINT": "c.txt"})
    assert environ["UV_DEFAULT_INDEX"] == INDEX
    assert environ["UV_INDEX"] == "https://a/simple https://b/simple"
    assert environ["UV_FIND_LINKS"] == "/shared/wheels,/more/wheels"
    assert environ["UV_INSECURE_HOST"] == "index"
    assert environ["SSL_CERT_FILE"] == "/etc/ca.pem"
    assert environ["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert {"UV_NO_VERIFY_HASHES", "UV_CONSTRAINT", "UV_NO_INDEX"}.isdisjoint(environ)


@pytest.mark.slow
def test_an_index_that_uv_is_configured_with_stays(configured):
    environ = configured.for_uv({"UV_DEFAULT_INDEX": "https://own/simple"})
    assert environ["UV_DEFAULT_INDEX"] == "https://own/simple"
    assert "UV_INDEX" not in environ


@pytest.mark.slow
def test_settings_are_not_shown(configured):
    assert "secret" not in repr(configured)
    text = f"error at {INDEX}/numpy/ and in /shared/wheels/x.whl: index"
    assert (
        configured.redact(text)
        == "error at a configured place and in a configured place/x.whl: a configured place"
    )


def test_uv_that_is_not_installed_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("lading.runtime.python.installers.find_uv", lambda: None)
    assert choose_installer(None) == "pip"
    with pytest.raises(ExtraMissing, match="expected uv, found none"):
        choose_installer("uv")


def test_without_uv_and_pip_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ExtraMissing, match="expected uv or pip, found neither") as refused:
        pip_runner("environment")
    assert "lading-ml[python]" in refused.value.hint


@pytest.mark.slow
def test_an_installer_is_ended_after_its_time():
    done = run_installer([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, timeout_s=0.5)
    assert done.code is None


def test_an_installer_keeps_the_descriptors_that_it_is_to_hold(tmp_path):
    with (tmp_path / "lock").open("w") as file:
        code = f"import os; print(os.readlink('/proc/self/fd/{file.fileno()}'))"
        done = run_installer([sys.executable, "-c", code], os.environ, timeout_s=20, held=[file.fileno()])
    assert Path(done.output.strip()) == tmp_path / "lock"
