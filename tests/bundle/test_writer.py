"""Writing of bundles: the same bytes everywhere, whole or not at all."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lading.bundle import (
    Bundle,
    Samples,
    add_profile,
    unpack_tar,
    write_bundle,
)
from lading.bundle.manifest import Training
from lading.bundle.writer import staging_directory
from lading.errors import (
    DestinationExists,
    InvalidName,
    ManifestInvalid,
    ModelInvalid,
    RequirementsInvalid,
    SamplesInvalid,
)
from support.bundles import REQUIREMENTS, linear_bundle, linear_draft, linear_model, linear_samples

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


def tar_of(bundle):
    out = io.BytesIO()
    info = bundle.write_tar(out)
    return info, out.getvalue()


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_the_same_inputs_give_the_same_digest(tmp_path, bundle):
    assert linear_bundle(tmp_path / "again").digest == bundle.digest
    assert linear_bundle(tmp_path / "other", seed=1).digest != bundle.digest
    assert linear_bundle(tmp_path / "named", "other").digest != bundle.digest


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_another_process_and_hash_seed_give_the_same_bytes(tmp_path, bundle, seed):
    script = (
        "import sys, hashlib, io\nfrom support import bundles\n"
        "bundle = bundles.linear_bundle(sys.argv[1])\n"
        "out = io.BytesIO()\n"
        "print(bundle.digest, bundle.write_tar(out).digest)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "again")],
        env={
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "TZ": "Asia/Seoul",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [bundle.digest, tar_of(bundle)[0].digest]


def test_order_of_keys_lines_and_arrays_does_not_matter(tmp_path, bundle):
    samples = linear_samples(linear_model())
    reordered = Samples(samples.inputs, dict(reversed(samples.outputs.items())), samples.rows)
    draft = linear_draft()
    labels = dict(reversed(draft.labels.items()))
    again = write_bundle(
        tmp_path / "again",
        msgspec.structs.replace(draft, labels=labels),
        model=linear_model(),
        samples=reordered,
        requirements="\n\nonnxruntime==1.20.0\nnumpy==2.0.0\nnumpy==2.0.0\n",
    )
    assert again.digest == bundle.digest


def test_the_model_may_come_from_a_file(tmp_path, bundle):
    (tmp_path / "m.onnx").write_bytes(linear_model())
    samples = linear_samples(linear_model())
    again = write_bundle(
        tmp_path / "again",
        linear_draft(),
        model=tmp_path / "m.onnx",
        samples=samples,
        requirements=REQUIREMENTS,
    )
    assert again.digest == bundle.digest


def test_files_are_readable_by_all_and_no_temporary_one_remains(bundle, tmp_path):
    assert bundle.path.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in bundle.path.iterdir()} == {0o644}
    assert leftovers(tmp_path) == []


def test_a_missing_parent_is_made(tmp_path):
    assert linear_bundle(tmp_path / "a" / "b").path.is_dir()


@pytest.mark.parametrize("kind", ["file", "folder", "full", "link"])
def test_an_existing_destination_is_not_touched(tmp_path, kind):
    dest = tmp_path / "dest"
    if kind == "file":
        dest.write_bytes(b"mine")
    elif kind == "link":
        dest.symlink_to(tmp_path / "nowhere")
    else:
        dest.mkdir()
        if kind == "full":
            (dest / "mine").write_bytes(b"mine")
    with pytest.raises(DestinationExists, match="dest"):
        linear_bundle(dest)
    assert leftovers(tmp_path) == []
    assert os.path.lexists(dest)


def test_a_destination_that_appears_in_the_meantime_is_not_touched(tmp_path):
    dest = tmp_path / "dest"

    def write_late():
        with staging_directory(dest) as folder:
            (folder / "mine").write_bytes(b"mine")
            dest.mkdir()
            (dest / "theirs").write_bytes(b"theirs")

    with pytest.raises(DestinationExists, match="dest"):
        write_late()
    assert [path.name for path in dest.iterdir()] == ["theirs"]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"name": "Iris"}, InvalidName),
        ({"owner": ""}, ManifestInvalid),
        ({"owner": None}, ManifestInvalid),
        ({"metrics": {"accuracy": float("nan")}}, ManifestInvalid),
        ({"metrics": {"accuracy": "high"}}, ManifestInvalid),
        ({"purpose": "two\nlines"}, ManifestInvalid),
        ({"description": "\ud800"}, ManifestInvalid),
        ({"training": Training("3.11", "linux", "x", {"numpy": 2})}, ManifestInvalid),
    ],
)
def test_a_draft_that_breaks_a_rule_is_never_written(tmp_path, changes, kind):
    with pytest.raises(kind):
        linear_bundle(tmp_path / "iris", **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argument", "value", "kind"),
    [
        ("model", b"not a model", ModelInvalid),
        ("model", b"", ModelInvalid),
        ("requirements", "numpy\n", RequirementsInvalid),
        ("requirements", "a @ http://x\n", RequirementsInvalid),
        ("samples", Samples({}, {}, 0), SamplesInvalid),
    ],
)
def test_a_part_that_breaks_a_rule_is_never_written(tmp_path, argument, value, kind):
    parts = {
        "model": linear_model(),
        "samples": linear_samples(linear_model()),
        "requirements": REQUIREMENTS,
        argument: value,
    }
    with pytest.raises(kind):
        write_bundle(tmp_path / "iris", linear_draft(), **parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda samples: Samples({"X": samples.inputs["X"].astype("f8")}, samples.outputs, 16),
        lambda samples: Samples({"X": samples.inputs["X"][:, :3]}, samples.outputs, 16),
        lambda samples: Samples({"X": samples.inputs["X"] * np.float32("nan")}, samples.outputs, 16),
        lambda samples: Samples({**samples.inputs, "Y": samples.inputs["X"]}, samples.outputs, 16),
        lambda samples: Samples(samples.inputs, {"label": samples.outputs["label"]}, 16),
        lambda samples: Samples(samples.inputs, samples.outputs, 15),
        lambda samples: Samples({"X": samples.inputs["X"][:3]}, samples.outputs, 16),
    ],
)
def test_samples_that_do_not_fit_are_never_written(tmp_path, change):
    samples = change(linear_samples(linear_model()))
    with pytest.raises(SamplesInvalid):
        write_bundle(
            tmp_path / "iris",
            linear_draft(),
            model=linear_model(),
            samples=samples,
            requirements=REQUIREMENTS,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_failing_source_leaves_nothing_behind(bundle, tmp_path):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 4096:
                raise OSError("the network went away")
            return super().read(size)

    _, data = tar_of(bundle)
    with pytest.raises(OSError, match="went away"):
        unpack_tar(Broken(data), tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iris.bundle"]


def test_the_bytes_of_a_bundle_never_change(tmp_path):
    """These digests are in use: every machine and every version must come to them."""
    samples = Samples(
        {"X": np.array([[5.1, 3.5, 1.4, 0.2]], "f4")},
        {"label": np.array([0]), "probabilities": np.array([[0.97, 0.02, 0.01]], "f4")},
        1,
    )
    model = DATA / "iris_svc.onnx"
    bundle = write_bundle(
        tmp_path / "iris", linear_draft(), model=model, samples=samples, requirements=REQUIREMENTS
    )
    assert bundle.digest == "sha256:e6fdb16422482722d519a3e345eb51f35ce3b3562b4236691b552f86d6883f38"
    assert (
        tar_of(bundle)[0].digest == "sha256:c2c8a86de1d99ad6bde38dd86d22617e0267640233aa02938d863eed76d561f5"
    )


def test_a_profile_is_added_to_a_bundle_without_copying_its_model(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    inode = bundle.model_path.stat().st_ino
    profile = b'{"inputs":[],"rows":3,"source":"log"}'
    whole = add_profile(bundle, profile)
    assert whole == Bundle.open(bundle.path)
    assert whole.manifest.format == 2
    assert (whole.path / "profile.json").read_bytes() == profile
    assert whole.model_path.stat().st_ino == inode
    assert whole.digest != bundle.digest
    assert {path.name for path in tmp_path.iterdir()} == {"iris.bundle"}


def test_a_profile_that_breaks_a_rule_leaves_nothing(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    with pytest.raises(ManifestInvalid, match=r"profile\.json"):
        add_profile(bundle, b'{"inputs":[],"rows":-3,"source":"log"}')
    assert list(tmp_path.iterdir()) == []
