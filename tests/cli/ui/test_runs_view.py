"""What a bundle runs, in the tables of what is stored."""

from __future__ import annotations

from lading.bundle import Bundle
from lading.cli.ui import runs_view
from lading.cli.ui.runs_view import Runs, runs_of, stored_runs
from lading.errors import RegistryUnavailable
from lading.registry import Registry
from lading.replica import UNKNOWN
from support.bundles import linear_bundle
from support.python_bundles import python_bundle


def pushed(opened: Registry, *bundles: Bundle):
    return [opened.push(bundle) for bundle in bundles]


def test_a_bundle_states_what_it_executes_and_the_environment_that_it_needs(tmp_path):
    bundle = python_bundle(tmp_path / "doubled")
    lock = bundle.lock().digest
    assert runs_of(bundle.manifest) == Runs("code", lock, "3.11")
    assert runs_of(bundle.manifest).row == ("code", f"{lock[:19]} py3.11")
    assert runs_of(linear_bundle(tmp_path / "iris").manifest).row == ("no", "–")
    assert runs_of(None).row == ("unknown", "unknown")
    assert runs_view.UNKNOWN == UNKNOWN


def test_what_cannot_be_read_in_the_store_is_unknown_and_the_others_are_shown(tmp_path, capsys):
    with Registry.open(str(tmp_path / "registry")) as opened:
        versions = pushed(opened, linear_bundle(tmp_path / "iris"), python_bundle(tmp_path / "doubled"))
        assert [runs.executes for runs in stored_runs(opened, versions)] == ["no", "code"]
        assert capsys.readouterr().err == ""
        opened.store.delete(versions[0].blob)
        assert [runs.executes for runs in stored_runs(opened, versions)] == ["unknown", "code"]
        assert "the store could not be read" in capsys.readouterr().err


def test_a_store_that_is_down_is_not_asked_again_for_each_version(tmp_path, monkeypatch):
    with Registry.open(str(tmp_path / "registry")) as opened:
        versions = pushed(opened, *(linear_bundle(tmp_path / str(seed), seed=seed) for seed in range(3)))
        asked = []

        def refuse(digest: str) -> None:
            asked.append(digest)
            raise RegistryUnavailable("store", expected="an answer", found="none")

        # A store that is down, for every version of many.
        monkeypatch.setattr(opened.store, "open", refuse)
        assert opened.manifests(versions * 40) == [None] * 120
    assert len(asked) <= 8
