from __future__ import annotations

import pytest

from lading.errors import EnvironmentFailed
from lading.runtime.python.environments import DEFAULT_TIMEOUT_S
from lading.runtime.python.host import PythonHost, host_of, this_host
from lading.runtime.python.open import build_environment, open_python
from lading.settings import ServeSettings
from support.moving_packages import moving_bundle


@pytest.mark.parametrize("how", [build_environment, lambda *made: open_python(*made, threads=1)])
def test_an_environment_is_not_waited_for_longer_than_the_host_allows(tmp_path, how):
    bundle = moving_bundle(tmp_path / "doubled", tmp_path / "wheels")
    host = PythonHost(
        "code", environments=tmp_path / "environments", wheels=tmp_path / "wheels", build_timeout_s=0.001
    )
    with pytest.raises(
        EnvironmentFailed, match=r"expected it to end, found no end after 0\.001 s"
    ) as refused:
        how(bundle, host)
    assert "--load-timeout-s" in (refused.value.hint or "")


def test_a_server_has_as_long_for_an_environment_as_for_a_model_and_a_command_has_longer(monkeypatch):
    monkeypatch.setenv("LADING_LOAD_TIMEOUT_S", "7")
    assert host_of(ServeSettings(load_timeout_s=7)).build_timeout_s == 7
    assert this_host("code").build_timeout_s == DEFAULT_TIMEOUT_S
    assert this_host("code").allow == "code"
