"""The current release of a model, as commands ask for it."""

from __future__ import annotations

import pytest

from lading.cli.ui.current_release import current_release
from lading.errors import ModelNotFound, VersionNotFound
from lading.release import Plan


def test_the_newest_release_is_the_current_one(proved):
    for version in (1, 2):
        proved.releases.begin("iris", version, Plan(mode="live"), actor="ada")
    assert current_release(proved, "iris").number == 2


def test_a_model_without_a_release_is_an_error_with_a_hint(proved):
    with pytest.raises(VersionNotFound) as caught:
        current_release(proved, "iris")
    assert caught.value.hint == "`lading release iris:1` releases version 1"
    with pytest.raises(ModelNotFound):
        current_release(proved, "none")
