"""The process that writes the log, as the server sees it: its settings, its key, its end."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat

import pytest

from lading.errors import ExtraMissing, InvalidSetting
from lading.server.process.log_writer import LogWriter, privacy_of, writer_settings
from lading.settings import ServeSettings
from support.predictions import writer_settings as plain_settings
from support.waiting import wait_until


def settings(tmp_path, **more) -> ServeSettings:
    return ServeSettings(**{"log_predictions": 0.5, "log": str(tmp_path / "log"), **more})


def test_without_a_share_nothing_is_written():
    assert writer_settings(ServeSettings(), None) is None


def test_the_log_is_beside_the_registry_unless_a_place_is_set(tmp_path, monkeypatch):
    monkeypatch.delenv("LADING_LOG", raising=False)
    registry = str(tmp_path / "registry")
    beside = writer_settings(settings(tmp_path, log=""), registry)
    chosen = writer_settings(settings(tmp_path), registry)
    assert (beside.url, chosen.url) == (f"{registry}/log", str(tmp_path / "log"))


def test_a_missing_library_is_said_at_the_start_with_what_installs_it(tmp_path, monkeypatch):
    spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else spec(name))
    with pytest.raises(ExtraMissing, match="expected the extra `monitor`") as error:
        writer_settings(settings(tmp_path), None)
    assert error.value.hint == "`pip install 'lading-ml[monitor]'`"


def test_a_place_that_cannot_be_used_is_refused_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSetting, match="a folder that can be written to"):
        writer_settings(settings(tmp_path, log=str(tmp_path / "file" / "log")), None)
    with pytest.raises(InvalidSetting, match="s3://bucket/prefix"):
        writer_settings(settings(tmp_path, log="gs://bucket/prefix"), None)


def test_the_key_of_hashes_is_made_once_and_only_its_owner_reads_it(tmp_path):
    wanted = settings(tmp_path, log_hash="city")
    writer = writer_settings(wanted, None)
    first, second = privacy_of(wanted, writer), privacy_of(wanted, writer)
    assert first.key == second.key
    assert len(first.key) >= 32
    (file,) = (tmp_path / "log").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert privacy_of(settings(tmp_path), writer).key == b""


def test_a_key_of_ones_own_must_be_long_enough(tmp_path):
    file = tmp_path / "key"
    wanted = settings(tmp_path, log_hash="city", log_hash_key_file=str(file))
    writer = writer_settings(wanted, None)
    with pytest.raises(InvalidSetting, match="expected a file that can be read"):
        privacy_of(wanted, writer)
    file.write_text("short")
    with pytest.raises(InvalidSetting, match="at least 16 bytes"):
        privacy_of(wanted, writer)
    file.write_text("a secret of some length\n")
    assert privacy_of(wanted, writer).key == b"a secret of some length"


def test_a_log_in_a_bucket_needs_a_key_that_all_servers_have(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    wanted = settings(tmp_path, log="s3://bucket/log", log_hash="city")
    with pytest.raises(InvalidSetting, match="a key that all servers have"):
        privacy_of(wanted, writer_settings(wanted, None))


@pytest.mark.slow
def test_a_writer_that_ends_is_started_again_and_later_each_time(tmp_path):
    now = [0.0]
    writer = LogWriter(plain_settings(tmp_path), clock=lambda: now[0])
    try:
        delays = []
        for _ in range(3):
            writer.check()
            pid = writer.pid
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: (writer.check(), writer.pid != pid)[1])  # noqa: B023 - called in this turn
            delays.append(writer.due_in_s() if not writer.pid else 0.0)
            now[0] += delays[-1]
        assert delays == [0.0, 0.5, 1.0]
    finally:
        writer.check()
        writer.close()
