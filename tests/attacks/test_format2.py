"""Hostile bundles of format 2: section 6 of FORMAT.md, in both forms of a bundle."""

from __future__ import annotations

import os
import shutil

import pytest

from lading.bundle import Bundle
from lading.errors import (
    ArchiveInvalid,
    DuplicateEntry,
    EnvironmentLockInvalid,
    FileUnexpected,
    LinkRefused,
    ManifestInvalid,
    PathUnsafe,
    SpecialFileRefused,
    UnknownKey,
)
from support.forged_bundles import (
    entry,
    member,
    members,
    put,
    refused_both,
    refused_directory,
    refused_tar,
    rewrite,
    tar,
)
from support.python_bundles import python_bundle

X = "X"
NAME = "doubled"
ROOT = f"lading/bundles/{NAME}"


@pytest.fixture(scope="module")
def pristine2(tmp_path_factory):
    return python_bundle(tmp_path_factory.mktemp("pristine") / "doubled.bundle").path


@pytest.fixture
def python(pristine2, tmp_path):
    """Return the path of a good bundle of format 2, alone in its directory, for the test to damage."""
    return shutil.copytree(pristine2, tmp_path / "case" / "doubled.bundle")


def refused(path, kind, *words):
    """Expect the same refusal of the directory and of its tar form."""
    refused_directory(path, kind, *words)
    refused_tar(tar(members(path, NAME)), path.parent, kind, *words)


def stating(path, **values):
    """Set keys of the manifest, or remove those that are None; seal it again."""

    def change(tree):
        for key, value in values.items():
            tree.pop(key, None)
            if value is not None:
                tree[key] = value

    return rewrite(path, change)


def test_an_undamaged_bundle_is_accepted(python, tmp_path):
    before = (python / "bundle.json").read_bytes()
    assert (rewrite(python) / "bundle.json").read_bytes() == before
    opened = Bundle.open(python)
    assert opened.manifest.format == 2
    assert opened.manifest.executes == "code"
    with (tmp_path / "tar").open("wb") as out:
        opened.write_tar(out)
    assert (tmp_path / "tar").read_bytes() == tar(members(python, NAME)).getvalue()


def test_format_2_without_need_is_refused(bundle):
    refused_both(stating(bundle, format=2), ManifestInvalid, "$.format", "expected `1`")


def test_a_key_of_format_2_in_format_1_is_refused(bundle):
    refused_both(stating(bundle, slices=["X"]), UnknownKey, "`slices`")


def test_a_folder_in_format_1_is_refused(bundle):
    (bundle / "code").mkdir()
    put(bundle, "code/a.py", b"")
    refused_both(bundle, PathUnsafe, "`code/a.py`")


@pytest.mark.parametrize(
    "name",
    [
        "code/../bundle.json",
        "code/a/b.py",
        "../a",
        "other/a.txt",
        "files/.hidden",
        "files//a",
        "code/a.so",
        "code/a-b.py",
        "code/",
        "/files/a",
    ],
)
def test_a_path_in_a_folder_that_could_leave_it_is_refused(python, name):
    rewrite(python, lambda tree: tree["files"].update({name: entry(b"")}))
    refused_directory(python, PathUnsafe)


def test_a_folder_that_is_a_link_is_refused(python):
    (python / "code").rename(python.parent / "elsewhere")
    (python / "code").symlink_to(python.parent / "elsewhere")
    refused_directory(python, LinkRefused, "`code`")


@pytest.mark.parametrize("name", ["code/doubled.py", "files/factor.txt"])
def test_a_link_in_a_folder_is_refused(python, name):
    (python / name).rename(python.parent / "kept")
    (python / name).symlink_to(python.parent / "kept")
    refused_directory(python, LinkRefused, f"`{name}`")
    (python / name).unlink()
    os.link(python.parent / "kept", python / name)
    refused_directory(python, LinkRefused, f"`{name}`", "hard link")


@pytest.mark.parametrize("name", ["code/more.py", "files/more.txt"])
def test_a_stray_file_in_a_folder_is_refused(python, name):
    (python / name).write_bytes(b"")
    refused(python, FileUnexpected, name)


def test_a_folder_in_a_folder_is_refused(python):
    (python / "code" / "__pycache__").mkdir()
    refused_directory(python, FileUnexpected, "`code/__pycache__`", "a directory")


def test_an_empty_folder_is_refused(bundle):
    (bundle / "files").mkdir()
    refused_directory(bundle, FileUnexpected, "`files/`")


def test_a_fifo_in_a_folder_is_refused(python):
    (python / "files" / "factor.txt").unlink()
    os.mkfifo(python / "files" / "factor.txt")
    refused_directory(python, SpecialFileRefused, "a FIFO")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"numpy==2.4.6\n",
        b"numpy==2.4.6 --hash=md5:00\n",
        b"numpy>=2 --hash=sha256:" + 64 * b"a" + b"\n",
        b"numpy==2.4.6 --hash=sha256:" + 64 * b"a",
        b"-r other.txt\n",
        b"numpy @ https://example.com/numpy.whl --hash=sha256:" + 64 * b"a" + b"\n",
        b"Numpy==2.4.6 --hash=sha256:" + 64 * b"a" + b"\n",
        b"--find-links=wheels numpy==1 --hash=sha256:" + 64 * b"a" + b"\n",
    ],
)
def test_a_lock_that_is_more_than_pins_with_hashes_is_refused(python, line):
    refused(put(python, "environment.lock", line), EnvironmentLockInvalid, "`environment.lock`")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("python", "3.11"),
        ("entry", "doubled:Doubled"),
        ("steps", ["onnx"]),
        ("formats", ["text"]),
        ("executes", "code"),
    ],
)
def test_code_beside_the_onnx_runtime_is_refused(bundle, key, value):
    refused_both(stating(bundle, format=2, **{key: value}), ManifestInvalid, f"$.{key}")


@pytest.mark.parametrize("name", ["code/a.py", "files/a.txt", "environment.lock"])
def test_files_of_code_beside_the_onnx_runtime_are_refused(bundle, name):
    (bundle / name).parent.mkdir(exist_ok=True)
    put(bundle, name, b"")
    refused_both(stating(bundle, format=2), ManifestInvalid, "$.files", f"`{name}`")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"runtime": "docker"}, "$.runtime"),
        ({"python": None}, "$.python"),
        ({"python": "2.7"}, "$.python"),
        ({"python": "3.11.7"}, "$.python"),
        ({"python": "../3.11"}, "$.python"),
        ({"steps": None}, "$.steps"),
        ({"steps": ["onnx"]}, "$.steps"),
        ({"steps": ["code:preprocess"]}, "$.steps"),
        ({"steps": ["code:predict", "code:preprocess"]}, "$.steps"),
        ({"steps": ["code:predict", "onnx"]}, "$.steps"),
        ({"steps": ["code:predict", "code:predict"]}, "$.steps"),
        ({"steps": ["shell:rm"]}, "$.steps"),
        ({"steps": ["code:preprocess", "onnx"]}, "`model.onnx`"),
    ],
)
def test_a_python_bundle_without_what_it_needs_is_refused(python, changes, where):
    refused(stating(python, **changes), ManifestInvalid, where)


def test_a_python_bundle_without_a_lock_is_refused(python):
    (python / "environment.lock").unlink()
    rewrite(python, lambda tree: tree["files"].pop("environment.lock"))
    refused(python, ManifestInvalid, "$.files", "`environment.lock`")


def test_a_model_that_no_step_runs_is_refused(python, bundle):
    put(python, "model.onnx", (bundle / "model.onnx").read_bytes())
    refused(python, ManifestInvalid, "$.files", "`onnx`")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "other:Doubled",
        "doubled",
        "doubled:",
        ":Doubled",
        "doubled.py:Doubled",
        "lading:skops",
        "os:system",
    ],
)
def test_an_entry_that_the_bundle_does_not_have_is_refused(python, value):
    refused(stating(python, entry=value), ManifestInvalid, "$.entry")


@pytest.mark.parametrize("value", [None, ["skops"], ["text", "text"], ["data", "text"], "text"])
def test_a_file_stored_otherwise_than_stated_is_refused(python, value):
    refused(stating(python, formats=value), ManifestInvalid, "$.formats")


@pytest.mark.parametrize("value", [None, "pickle", True])
def test_a_bundle_that_hides_what_it_executes_is_refused(python, value):
    refused(stating(python, executes=value), ManifestInvalid, "$.executes")


@pytest.mark.parametrize("name", ["files/model.pkl", "files/model.joblib", "files/model.PICKLE"])
def test_a_pickle_is_what_the_manifest_has_to_name(python, name):
    put(python, name, b"\x80\x04N.")
    formats = sorted(["text", "joblib" if "joblib" in name else "pickle"])
    refused(stating(python, formats=formats), ManifestInvalid, "$.executes", "`pickle`")
    assert Bundle.open(stating(python, executes="pickle")).manifest.executes == "pickle"


@pytest.mark.parametrize(
    "check",
    [
        {"input": "Y"},
        {"input": X, "column": "c"},
        {"input": X, "column": "a", "at_most": "c"},
        {"input": X, "minimum": 2.0, "maximum": 1.0},
        {"input": X, "pattern": "("},
        {"input": X, "pattern": "a"},
        {"input": X, "allowed": ["a"]},
        {"input": X, "at_most": "b"},
        {"input": X, "ignore": ["all"]},
    ],
)
def test_checks_that_cannot_be_made_are_refused(python, check):
    refused(stating(python, checks=[check]), ManifestInvalid, "$.checks[0]")


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("c", {"table": "t", "key": "k", "column": "c"}),
        ("a", {"table": "", "key": "k", "column": "c"}),
        ("a", {"table": "t", "key": "k\n", "column": "c"}),
        ("a", {"table": "t", "key": "k", "column": "c", "max_age_s": 0.0}),
    ],
)
def test_features_that_cannot_be_looked_up_are_refused(python, name, feature):
    refused(stating(python, features={name: feature}), ManifestInvalid, f"$.features.{name}")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"lineage": {"data": "md5:1"}}, "$.lineage.data"),
        ({"lineage": {"parent": "latest"}}, "$.lineage.parent"),
        ({"lineage": {"code_commit": "HEAD"}}, "$.lineage.code_commit"),
        ({"lineage": {"training_run": "a\nb"}}, "$.lineage.training_run"),
        ({"slices": ["c"]}, "$.slices"),
        ({"slices": ["a", "a"]}, "$.slices"),
    ],
)
def test_lineage_and_slices_outside_their_rules_are_refused(python, changes, where):
    refused(stating(python, **changes), ManifestInvalid, where)


def test_what_follows_the_rules_of_format_2_is_read(python):
    stating(
        python,
        checks=[
            {
                "allowed": [1.0, 2.0],
                "ignore": ["range"],
                "at_most": "b",
                "column": "a",
                "input": X,
                "missing": False,
            }
        ],
        features={"a": {"column": "c", "default": 0.5, "key": "k", "max_age_s": 60.0, "table": "t"}},
        lineage={"code_commit": 40 * "0", "data": "sha256:" + 64 * "0", "training_run": "run 7"},
        slices=["a", X],
    )
    put(python, "profile.json", b'{"inputs":[],"rows":3,"source":"log"}')
    opened = Bundle.open(python)
    manifest = opened.manifest
    assert manifest.checks[0].at_most == "b"
    assert manifest.features["a"].max_age_s == 60.0
    assert manifest.lineage is not None
    assert manifest.lineage.training_run == "run 7"
    assert opened.profile is not None
    assert opened.profile.source == "log"


def test_a_tar_with_folders_out_of_place_is_refused(python):
    parts = members(python, NAME)
    code = parts.index(member(f"{ROOT}/code/", kind=b"5"))
    files = parts.index(member(f"{ROOT}/files/", kind=b"5"))
    cases = [
        (parts[:code] + parts[code + 1 :], ArchiveInvalid),  # none before its files
        ([*parts[: code + 2], parts[code], *parts[code + 2 :]], DuplicateEntry),
        (parts[:code] + parts[files:] + parts[code:files], ArchiveInvalid),  # another order
        ([*parts, member(f"{ROOT}/more/", kind=b"5")], FileUnexpected),
        ([*parts, member("code/", kind=b"5")], FileUnexpected),
        ([*parts, member(f"{ROOT}/code/doubled.py/", kind=b"5")], FileUnexpected),
        ([*parts[:code], member(f"{ROOT}/code/", bytes(512), kind=b"5"), *parts[code + 1 :]], ArchiveInvalid),
    ]
    for damaged, kind in cases:
        refused_tar(tar(damaged), python.parent, kind)
