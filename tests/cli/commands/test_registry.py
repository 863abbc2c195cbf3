"""Push, pull, list, show, tag, remove, gc and inspect."""

from __future__ import annotations

import json

import pytest


def test_pushing_prints_the_reference_and_nothing_else(lading, bundle):
    code, out, said = lading("push", bundle.path, "--tag", "stable")
    assert (code, out) == (0, "iris:1\n")
    assert bundle.digest in said
    assert lading("push", bundle.path)[1] == "iris:1\n"


def test_pushing_a_broken_bundle_is_refused(lading, bundle):
    model = bundle.path / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    code, out, said = lading("push", bundle.path)
    assert (code, out) == (1, "")
    assert "model.onnx" in said


def test_listing_shows_newest_versions_or_all_of_one(lading, filled):
    _, out, _ = lading("list")
    assert [line.split()[0] for line in out.splitlines()] == ["ref", "iris:2"]
    _, out, _ = lading("list", "iris")
    assert [line.split()[0] for line in out.splitlines()] == ["ref", "iris:1", "iris:2"]
    _, out, _ = lading("list", "--json")
    assert [one["ref"] for one in json.loads(out)["models"]] == ["iris:2"]
    _, out, _ = lading("list", "iris", "--json")
    assert [one["tags"] for one in json.loads(out)["versions"]] == [["stable"], []]


def test_an_empty_registry_is_no_error(lading):
    assert lading("list")[:2] == (0, "")
    assert lading("matrix")[:2] == (0, "")
    assert json.loads(lading("list", "--json")[1]) == {"models": []}


def test_without_evidence_the_matrix_says_how_some_comes_to_be_there(lading, filled, bundle):
    assert lading("verify", bundle.path)[0] == 0
    words = "no evidence in this registry yet; `lading verify iris:2` records it"
    assert lading("matrix") == (0, "", f"{words} (that of a directory is only shown)\n")


def test_what_is_not_there_ends_with_3_and_what_is_near(lading, filled):
    code, out, said = lading("show", "irsi")
    assert (code, out) == (3, "")
    assert "hint: did you mean `iris`?" in said
    assert lading("show", "iris:7")[0] == 3
    assert lading("list", "none")[0] == 3
    assert lading("pull", "iris:none", "--to", "x")[0] == 3


@pytest.mark.parametrize("ref", ["iris:3", "iris:1", "iris:stable", "none:1", f"iris@sha256:{1:064x}"])
@pytest.mark.parametrize("command", ["list", "matrix"])
def test_a_reference_where_a_name_belongs_is_wrong_use(lading, filled, command, ref):
    code, out, said = lading(command, ref)
    assert (code, out) == (2, "")
    assert f"expected a model's name, found reference `{ref}`" in said


def test_showing_tells_what_is_known(lading, filled, bundle):
    _, out, _ = lading("show", "iris:stable")
    assert "iris:1" in out
    assert bundle.digest in out
    shown = json.loads(lading("show", "iris:stable", "--json")[1])
    assert shown["version"]["digest"] == bundle.digest
    assert shown["evidence"] == []


def test_tags_move_and_go(lading, filled):
    assert lading("tag", "iris:2", "stable")[:2] == (0, "iris:2\n")
    assert json.loads(lading("show", "iris:stable", "--json")[1])["version"]["version"] == 2
    assert lading("tag", "iris", "stable", "--remove")[0] == 0
    assert lading("show", "iris:stable")[0] == 3
    assert lading("tag", "iris", "stable", "--remove")[0] == 3
    assert lading("tag", "iris:1", "stable", "--remove")[0] == 2
    code, _, said = lading("tag", "iris:1", "live")
    assert code == 2
    assert "release" in said


def test_pulling_gives_the_same_bundle(lading, filled, bundle, tmp_path):
    code, out, _ = lading("pull", "iris:1", "--to", tmp_path / "pulled")
    assert (code, out) == (0, f"{tmp_path / 'pulled'}\n")
    assert json.loads(lading("inspect", tmp_path / "pulled", "--json")[1])["digest"] == bundle.digest


def test_removing_forgets_and_gc_frees(lading, filled, bundle):
    assert lading("remove", "iris:1")[0] == 1
    assert lading("remove", "iris:2")[:2] == (0, "iris:2\n")
    report = json.loads(lading("gc", "--dry-run", "--older-than-s", "0", "--json")[1])
    assert report["dry_run"] is True
    assert [one["kind"] for one in report["removed"]] == ["blob"]
    code, out, said = lading("gc", "--older-than-s", "0")
    assert code == 0
    assert "blob" in out
    assert "kept 1" in said
    assert lading("pull", "iris:1", "--to", "back")[0] == 0


def test_inspecting_shows_the_manifest(lading, bundle):
    _, out, _ = lading("inspect", bundle.path)
    for text in (bundle.digest, "classification", "0=setosa", "float32 [batch, 4]", "model.onnx"):
        assert text in out
    shown = json.loads(lading("inspect", bundle.path, "--json")[1])
    assert shown["manifest"] == json.loads((bundle.path / "bundle.json").read_bytes())


def test_a_directory_is_told_from_a_reference(lading, bundle, filled, tmp_path):
    """A name alone is a directory only where that holds a bundle."""
    (tmp_path / "iris").mkdir()
    assert json.loads(lading("inspect", "iris", "--json")[1])["digest"] != bundle.digest
    (tmp_path / "iris").rmdir()
    bundle.path.rename(tmp_path / "iris")
    assert json.loads(lading("inspect", "iris", "--json")[1])["digest"] == bundle.digest
    assert json.loads(lading("inspect", "iris:2", "--json")[1])["digest"] != bundle.digest


def test_pulling_again_to_the_same_place_leaves_the_bundle_as_it_is(filled, lading, tmp_path):
    to = tmp_path / "iris"
    assert lading("pull", "iris:1", "--to", to)[0] == 0
    before = (to / "bundle.json").stat().st_mtime_ns
    code, out, _ = lading("pull", "iris:1", "--to", to)
    assert (code, out.strip()) == (0, str(to))
    assert (to / "bundle.json").stat().st_mtime_ns == before


def test_pulling_a_digest_again_asks_nobody(filled, lading, bundle, tmp_path, monkeypatch):
    """An init container that is run again finds the bundle and ends, though the catalog is away."""
    to, ref = tmp_path / "bundles" / "iris", f"iris@{bundle.digest}"
    assert lading("pull", ref, "--to", to)[0] == 0
    monkeypatch.setenv("LADING_REGISTRY", "postgresql://127.0.0.1:1/lading")
    monkeypatch.delenv("LADING_STORE", raising=False)
    assert lading("pull", ref, "--to", to)[:2] == (0, f"{to}\n")
    monkeypatch.setenv("LADING_STORE", str(tmp_path / "store"))
    assert lading("pull", f"rose@{bundle.digest}", "--to", to)[0] == 4
    (to / "model.onnx").write_bytes(b"damaged")
    assert lading("pull", ref, "--to", to)[0] == 4


def test_pulling_over_another_or_a_damaged_bundle_is_refused(filled, lading, tmp_path):
    to = tmp_path / "iris"
    assert lading("pull", "iris:1", "--to", to)[0] == 0
    assert lading("pull", "iris:2", "--to", to)[0] == 1
    (to / "model.onnx").write_bytes(b"other")
    assert lading("pull", "iris:1", "--to", to)[0] == 1
