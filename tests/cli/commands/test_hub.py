"""``lading hub``, as a process that somebody starts and stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

from support.hub_person import Form


def test_a_key_that_is_too_short_is_refused_before_anything_is_served(lading, tmp_path, monkeypatch):
    (tmp_path / "hub.key").write_text("secret\n")
    code, _, stderr = lading("hub", "--port", "0", "--key-file", tmp_path / "hub.key")
    assert code == 2
    assert "expected a key in one line, of 32 to 1024 bytes, found 6 bytes" in " ".join(stderr.split())
    monkeypatch.setenv("LADING_HUB_KEY", "")
    code, _, stderr = lading("hub", "--port", "0")
    assert (code, "`LADING_HUB_KEY`: expected a key" in stderr) == (2, True)
    assert "secret" not in stderr


@pytest.mark.slow
def test_a_person_signs_in_to_a_hub_that_was_started_with_a_key(registry, tmp_path):
    key = "0123456789abcdef" * 4
    (tmp_path / "hub.key").write_text(f"{key}\n")
    command = [sys.executable, "-m", "lading", "hub", "--port", "0", "--key-file", "hub.key"]
    process = subprocess.Popen(
        command, env={**os.environ}, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        (url,) = re.findall(r"http://[^/]+", process.stderr.readline())
        with httpx.Client(base_url=url, timeout=30) as client:
            form = Form(client.get("/sign-in").text)
            fields = {**form.fields, "name": "ann\u00e9", "key": key}
            assert client.post(form.action, data=fields, headers={"origin": url}).status_code == 303
            assert "ann\u00e9" in client.get("/").text
    finally:
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
    assert "INFO ann\u00e9 has signed in from 127.0.0.1" in stderr
    assert key not in stderr
