"""Images on this disk: built, read and judged without a container engine or a registry."""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from lading.errors import (
    DestinationExists,
    ImageInvalid,
    ImageNotFound,
    InvalidReference,
    NotSupported,
    UsageError,
)
from lading.evidence import Check, Evidence
from lading.image import Descriptor
from lading.image.base import chain_id, find_python
from lading.image.build import BundleEntry, build
from lading.image.bundle_layers import from_bundle, from_registry
from lading.image.equivalence import compare, comparison_inputs, verify_image
from lading.image.inspect import ImageSummary, inspect
from lading.image.layers import LayerFile, archive_layer, files_layer
from lading.image.layout import LayoutImage
from lading.image.prune import decide
from lading.image.references import open_source, open_target, remote_image
from lading.image.wheels import collect_wheels, lading_files, unpack
from lading.registry import Registry
from support.built_images import build_image, config_of, wheel
from support.bundles import linear_bundle
from support.images import put_image, tiny_base
from support.server_process import serving


def test_the_layer_of_an_image_is_the_blob_that_stores_hold(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    with Registry.open(str(tmp_path / "registry")) as registry:
        version = registry.push(bundle)
        part = from_registry(version.ref, registry, None)
    target = LayoutImage(tmp_path / "out", None)
    build(open_source(tiny_base(tmp_path / "base")), [part], target)
    layer = json.loads(target.root().data)["layers"][-1]
    assert (layer["digest"], layer["size"]) == (version.blob, version.size_bytes)
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
    assert config_of(f"oci:{tmp_path / 'out'}")["rootfs"]["diff_ids"][-1] == version.blob
    assert (tmp_path / "out" / "blobs" / "sha256" / version.blob[7:]).stat().st_size == version.size_bytes


def test_the_same_base_and_bundle_give_the_same_image(tmp_path):
    digests = set()
    for run in ("one", "two"):
        folder = tmp_path / run
        folder.mkdir()
        digests.add(build_image(folder)[0].digest)
    assert len(digests) == 1


def test_an_image_says_what_it_holds_and_how_it_runs(tmp_path):
    made, parts = build_image(tmp_path)
    config = config_of(made.image)
    ran = config["config"]
    assert (ran["Entrypoint"], ran["Cmd"], ran["User"]) == (["lading"], ["serve"], "65532:65532")
    assert "PATH=/bin" in ran["Env"]
    assert "LADING_HOST=0.0.0.0" in ran["Env"]
    labels = ran["Labels"]
    assert labels["of"] == "the base"
    assert labels["com.lading.digest"] == parts[0].entry.digest
    assert (labels["com.lading.name"], labels["com.lading.owner"]) == ("iris", "ml@example.com")
    assert labels["com.lading.purpose"] == "classification"
    assert config["created"] == "2026-01-02T03:04:05Z"
    assert [one["created_by"] for one in config["history"]] == ["tests", "lading image build iris"]


def test_a_second_build_onto_the_same_place_sends_nothing_but_its_name(tmp_path):
    made, parts = build_image(tmp_path)
    again = build(open_source(f"oci:{tmp_path / 'base'}:base"), parts, open_target(made.image))
    assert (again.digest, again.bytes_sent) == (made.digest, 0)


def test_an_index_is_kept_with_every_platform_and_without_attestations(tmp_path):
    made, _ = build_image(tmp_path, architectures=("amd64", "arm64"))
    assert set(made.platforms) == {"linux/amd64", "linux/arm64"}
    index = json.loads(open_source(made.image).root().data)
    assert [one["platform"]["architecture"] for one in index["manifests"]] == ["amd64", "arm64"]
    contents = inspect(open_source(made.image))
    assert [one.layers[-1].what for one in contents.platforms] == ["bundle iris", "bundle iris"]


def test_one_platform_of_an_index_is_chosen(tmp_path):
    made, _ = build_image(tmp_path, architectures=("amd64", "arm64"), platforms=["linux/arm64"])
    assert list(made.platforms) == ["linux/arm64"]
    assert config_of(made.image)["architecture"] == "arm64"


def test_a_platform_that_the_base_does_not_have_is_refused(tmp_path):
    with pytest.raises(ImageNotFound, match=r"platform `linux/s390x`, found `linux/amd64`, `linux/arm64`"):
        build_image(tmp_path, architectures=("amd64", "arm64"), platforms=["linux/s390x"])


def test_several_bundles_are_layers_of_one_image(tmp_path):
    made, parts = build_image(tmp_path, "iris", "wine")
    (one,) = inspect(open_source(made.image)).platforms
    assert [entry.name for entry in one.bundles] == ["iris", "wine"]
    assert [layer.diff_id for layer in one.layers[1:]] == [part.entry.blob for part in parts]


def test_two_bundles_of_one_name_are_refused(tmp_path):
    with pytest.raises(DestinationExists, match="one bundle of this name"):
        build_image(tmp_path, "iris", "iris")


def test_an_image_can_be_built_on_and_says_all_that_it_holds(tmp_path):
    made, _ = build_image(tmp_path)
    wine = from_bundle(linear_bundle(tmp_path / "wine.bundle", "wine"))
    more = build(open_source(made.image), [wine], open_target(f"oci:{tmp_path / 'out'}:both"))
    assert [one.name for one in more.bundles] == ["iris", "wine"]
    names = {one["annotations"]["org.opencontainers.image.ref.name"] for one in index_of(tmp_path / "out")}
    assert names == {"iris", "both"}


def index_of(folder: Path) -> list[dict]:
    return json.loads((folder / "index.json").read_text())["manifests"]


def test_a_docker_archive_is_written_read_and_built_on(tmp_path):
    first = f"docker-archive:{tmp_path / 'iris.tar'}:example.com/iris:1"
    made, parts = build_image(tmp_path, to=first)
    with tarfile.open(tmp_path / "iris.tar") as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))
        assert entry["RepoTags"] == ["example.com/iris:1"]
        data = archive.extractfile(entry["Layers"][-1]).read()
        assert "sha256:" + hashlib.sha256(data).hexdigest() == parts[0].entry.blob
    (one,) = inspect(open_source(f"docker-archive:{tmp_path / 'iris.tar'}")).platforms
    assert one.bundles == made.bundles
    wine = from_bundle(linear_bundle(tmp_path / "wine.bundle", "wine"))
    more = build(open_source(first), [wine], LayoutImage(tmp_path / "more", None))
    assert [entry.name for entry in more.bundles] == ["iris", "wine"]


def test_a_docker_archive_holds_one_platform_and_replaces_no_file(tmp_path):
    with pytest.raises(NotSupported, match="one platform"):
        build_image(tmp_path, to=f"docker-archive:{tmp_path / 'two.tar'}", architectures=("amd64", "arm64"))
    assert not (tmp_path / "two.tar").exists()
    (tmp_path / "there.tar").touch()
    with pytest.raises(DestinationExists):
        open_target(f"docker-archive:{tmp_path / 'there.tar'}")


def test_a_docker_archive_that_cannot_be_written_leaves_nothing_and_nobody_elses_part_alone(tmp_path):
    theirs = tmp_path / ".iris.tar.part"
    theirs.write_bytes(b"of another build")
    made, _ = build_image(tmp_path)
    layout = LayoutImage(tmp_path / "out", "iris")
    writer = open_target(f"docker-archive:{tmp_path / 'iris.tar'}")
    try:
        said = json.loads(layout.root().data)
        for one in (*said["layers"], said["config"]):
            writer.put(layout.blob(Descriptor(one["mediaType"], one["digest"], one["size"])))
        # A layer of 8 GiB, all holes.
        big = Path(writer._folder.name) / "blobs" / "sha256" / ("0" * 64)
        with big.open("wb") as file:
            file.truncate(8 << 30)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(NotSupported, match="expected at most 8589934591 bytes, as a tar holds"):
            writer.name(layout.root().data, "application/vnd.oci.image.manifest.v1+json")
        assert sorted(tmp_path.iterdir()) == before
        big.unlink()
        writer.name(layout.root().data, "application/vnd.oci.image.manifest.v1+json")
    finally:
        writer.close()
    assert theirs.read_bytes() == b"of another build"
    (one,) = inspect(open_source(f"docker-archive:{tmp_path / 'iris.tar'}")).platforms
    assert one.bundles == made.bundles


def test_builds_that_write_to_one_layout_at_once_keep_the_tags_of_each_other(tmp_path):
    tags = [f"one-{number}" for number in range(8)]
    ready = threading.Barrier(len(tags))

    def name(tag: str) -> None:
        ready.wait()
        for again in range(5):
            LayoutImage(tmp_path / "out", f"{tag}-{again}").name(
                b"{}", "application/vnd.oci.image.manifest.v1+json"
            )

    with ThreadPoolExecutor(len(tags)) as pool:
        list(pool.map(name, tags))
    found = {one["annotations"]["org.opencontainers.image.ref.name"] for one in index_of(tmp_path / "out")}
    assert found == {f"{tag}-{again}" for tag in tags for again in range(5)}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"blobs", "index.json", "oci-layout"}


def test_an_artifact_is_no_base(tmp_path):
    image = LayoutImage(tmp_path / "artifact", None)
    part = from_bundle(linear_bundle(tmp_path / "iris.bundle"))
    data = put_image(image, {"config": {"format": "onnx"}}, [part.blob])
    image.name(data, "application/vnd.oci.image.manifest.v1+json")
    with pytest.raises(ImageInvalid, match="1 layers, as the manifest says, found 0"):
        build(image, [part], LayoutImage(tmp_path / "out", None))


def test_a_missing_image_names_the_tags_that_are_there(tmp_path):
    tiny_base(tmp_path / "base")
    with pytest.raises(ImageNotFound, match="found `base`"):
        open_source(f"oci:{tmp_path / 'base'}:other").root()
    with pytest.raises(ImageNotFound, match="no such file"):
        open_source(f"oci:{tmp_path / 'nowhere'}").root()


@pytest.mark.parametrize(
    "text", ["iris", "iris:3", "library/iris", "oci:", "docker-archive:a:", "a.b/c@sha256:1", "h:1/c:"]
)
def test_a_name_that_is_no_image_is_refused(text):
    with pytest.raises(InvalidReference, match="found another form"):
        open_source(text)


def test_names_of_images_are_read_as_container_tools_read_them():
    for text, where in {
        "localhost:5000/a/b:1": "localhost:5000/a/b:1",
        "example.com/iris": "example.com/iris:latest",
        f"example.com/iris@sha256:{'0' * 64}": f"example.com/iris@sha256:{'0' * 64}",
    }.items():
        assert remote_image(text).where == where


def test_a_large_layer_is_written_in_pieces(tmp_path):
    size = 64 << 20
    with (tmp_path / "big").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        layer = files_layer({"big": LayerFile(tmp_path / "big")}, tmp_path / "layer", compress=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert layer.descriptor.size > size
    assert peak < 8 << 20


def test_a_layer_of_files_is_a_tar_that_others_read(tmp_path):
    long, odd = f"a/{'b' * 90}/{'c' * 90}/{'d' * 99}/e.py", "a/größe.txt"
    files = {long: LayerFile(b"long"), odd: LayerFile(b"odd"), "bin/run": LayerFile(b"#!", 0o755)}
    layer = files_layer(files, tmp_path / "layer", compress=False)
    assert layer.diff_id == layer.descriptor.digest
    with tarfile.open(layer.path) as archive:
        read = {one.name: one for one in archive.getmembers()}
        assert {name: archive.extractfile(read[name]).read() for name in files} == {
            name: one.content for name, one in files.items()
        }
    assert (read["bin/run"].mode, read[odd].mode, read["a"].mode) == (0o755, 0o644, 0o755)
    assert {(one.mtime, one.uid, one.gid) for one in read.values()} == {(0, 0, 0)}


def test_a_compressed_layer_has_the_digest_of_its_plain_bytes_as_well(tmp_path):
    files = {"a": LayerFile(b"a" * 10000)}
    plain = files_layer(files, tmp_path / "plain", compress=False)
    packed = files_layer(files, tmp_path / "packed")
    assert packed.diff_id == plain.diff_id
    assert packed.descriptor.size < plain.descriptor.size
    # What comes compressed is unpacked first: the layer is the same.
    assert archive_layer(packed.path, tmp_path / "again", compress=False).descriptor == plain.descriptor


def test_a_stack_of_layers_has_the_name_that_the_specification_gives_it():
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert chain_id([one]) == one
    assert chain_id([one, two]) == "sha256:" + hashlib.sha256(f"{one} {two}".encode()).hexdigest()


def test_python_is_found_in_a_root_filesystem(tmp_path):
    files = {"usr/bin/python3.11": LayerFile(b"", 0o755), "usr/lib/python3.11/os.py": LayerFile(b"x = 1")}
    layer = files_layer(files, tmp_path / "rootfs", compress=False)
    with layer.path.open("rb") as file:
        assert find_python(file, "", "rootfs")[:2] == ("3.11", "/usr/bin/python3.11")
    with layer.path.open("rb") as file, pytest.raises(ImageInvalid, match=r"Python 3\.12"):
        find_python(file, "3.12", "rootfs")


def test_a_wheel_is_laid_out_without_scripts(tmp_path):
    inside = {
        "some/a.py": b"1",
        "some_thing-1.2.data/scripts/run": b"2",
        "some_thing-1.2.data/purelib/b.py": b"3",
    }
    wheel(tmp_path, inside)
    (found,) = collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")
    assert found.line.startswith("some-thing==1.2 --hash=sha256:")
    assert set(unpack(found)) == {"some/a.py", "b.py"}


def test_a_wheel_that_is_not_what_it_records_is_refused(tmp_path):
    wheel(tmp_path, {"some/a.py": b"1"}, wrong_digest="AAAA")
    (found,) = collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")
    with pytest.raises(ImageInvalid, match="sha256=AAAA"):
        unpack(found)


def test_a_wheel_that_leaves_its_folder_is_refused(tmp_path):
    wheel(tmp_path, {"../a.py": b"1"})
    (found,) = collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")
    with pytest.raises(ImageInvalid, match="names below its root"):
        unpack(found)


@pytest.mark.parametrize("harm", ["no zip", "cut off", "damaged", "no RECORD"])
def test_a_wheel_that_cannot_be_read_is_said(tmp_path, harm):
    path = wheel(tmp_path, {"some/a.py": b"1" * 1000})
    whole = path.read_bytes()
    changed = {
        "no zip": b"<html>404</html>",
        "cut off": whole[:-30],
        "damaged": whole.replace(b"1" * 1000, b"1" * 999 + b"2"),
        "no RECORD": whole.replace(b"RECORD", b"DROCER"),
    }
    path.write_bytes(changed[harm])
    (found,) = collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")
    with pytest.raises(ImageInvalid, match=r"wheel `.*some_thing.*`: expected a ") as caught:
        unpack(found)
    assert ("RECORD" in str(caught.value)) is (harm == "no RECORD")


def test_a_file_that_is_not_named_as_a_wheel_is_refused(tmp_path):
    (tmp_path / "thing.whl").touch()
    with pytest.raises(ImageInvalid, match=r"found `thing\.whl`"):
        collect_wheels(tmp_path, tmp_path, python="3.11", architecture="amd64")


def test_a_requirement_that_is_not_pinned_is_refused(tmp_path):
    (tmp_path / "serve.txt").write_text("numpy==2.0.0  # fine\nhttpx>=1\n")
    with pytest.raises(UsageError, match=r"found `httpx>=1`"):
        collect_wheels(tmp_path / "serve.txt", tmp_path, python="3.11", architecture="amd64")


def test_lading_itself_goes_in_without_bytecode():
    names = lading_files()
    assert "lading/__init__.py" in names
    assert "lading/server/grpc/_proto/oip.binpb" in names
    assert not [name for name in names if "__pycache__" in name]


def entry(name: str, version: int) -> BundleEntry:
    digest = f"sha256:{version:064d}"
    return BundleEntry(name=name, version=version, digest=digest, blob=digest, purpose="p", owner="o")


def listed(*entries: BundleEntry) -> ImageSummary:
    digest = f"sha256:{sum(one.version for one in entries):064d}"
    return ImageSummary(digest=digest, tags=("t",), bundles=list(entries), runtime={}, size_bytes=1)


def test_an_image_stays_while_one_of_its_bundles_is_needed():
    needed = {"iris": {entry("iris", 2).digest: ["release 4"]}, "wine": {}}
    old, new, both = (
        listed(entry("iris", 1)),
        listed(entry("iris", 2)),
        listed(entry("wine", 1), entry("iris", 2)),
    )
    assert [one.kept_by for one in decide([old, new, both], needed)] == [(), ("release 4",), ("release 4",)]


def test_runtimes_and_images_of_unknown_models_stay():
    foreign, runtime = decide([listed(entry("else", 1)), listed()], {"iris": {}})
    assert foreign.kept_by == ("`else` is not a model of this registry",)
    assert runtime.kept_by == ("it holds no bundle",)


def test_a_server_in_an_image_serves_its_bundles_without_a_registry(tmp_path):
    for at, name in enumerate(("iris", "wine")):
        linear_bundle(tmp_path / "bundles" / name, name, seed=at)
    environ = {"LADING_BUNDLES": str(tmp_path / "bundles"), "HOME": str(tmp_path / "home")}
    with serving(environ=environ) as server:
        server.wait_until(lambda: server.log.count("is ready") == 2)
        ready = [line for line in server.lines if "is ready" in line]
        assert [line.split("INFO ")[1].split(" is")[0] for line in ready] == ["iris", "wine"]
        assert server.stop() == 0
    assert not (tmp_path / "home").exists()


def test_references_go_before_the_bundles_of_the_image(tmp_path):
    linear_bundle(tmp_path / "bundles" / "iris")
    other = linear_bundle(tmp_path / "wine.bundle", "wine")
    with serving(other.path, environ={"LADING_BUNDLES": str(tmp_path / "bundles")}) as server:
        server.wait_until(lambda: "wine is ready" in server.log)
        assert "iris" not in server.log


IMAGE = "sha256:" + "a" * 64


def failed_here(bundle) -> Evidence:
    """Make evidence that a bundle failed in the image `IMAGE`, on the software of this process."""
    from lading.runtime.host.fingerprint import fingerprint

    return Evidence(
        bundle=bundle.digest,
        name="iris",
        fingerprint=msgspec.structs.replace(fingerprint(), image=IMAGE),
        checks=(
            Check("equivalence", "failed", expected="bit-identical answers", found="3 of 304 rows differ"),
        ),
        numbers={},
        measured_at="2026-11-20T10:00:00+00:00",
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["reference", "directory"])
def test_a_bundle_that_failed_on_this_image_is_refused_with_the_evidence(tmp_path, form):
    import httpx

    bundle = linear_bundle(tmp_path / "bundles" / "iris")
    url = str(tmp_path / "registry")
    with Registry.open(url) as registry:
        registry.push(bundle)
        registry.record(failed_here(bundle))
    environ = {"LADING_REGISTRY": url, "LADING_IMAGE": IMAGE, "LADING_BUNDLES": str(tmp_path / "bundles")}
    refs = ("iris:1",) if form == "reference" else ()
    with serving(*refs, environ=environ, ready=False) as server:
        server.wait_until(lambda: "refused" in server.log)
        health = httpx.get(f"{server.url}/health")
        assert health.status_code == 503
        assert "3 of 304 rows differ" in health.text
        assert IMAGE in health.text
    # On another image nothing is known against it.
    with serving(*refs, environ={**environ, "LADING_IMAGE": "sha256:" + "b" * 64}) as server:
        server.wait_until(lambda: "is ready" in server.log)


def test_the_rows_to_compare_by_are_the_same_every_time_and_fit_the_signature(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    first, second = list(comparison_inputs(bundle)), list(comparison_inputs(bundle))
    assert [what for what, _ in first] == [what for what, _ in second]
    for (_, one), (_, other) in zip(first, second, strict=True):
        assert (one["X"] == other["X"]).all()
        bundle.manifest.signature.cast(one)


@pytest.mark.slow
def test_servers_of_two_bundles_do_not_answer_alike(tmp_path):
    one, other = (linear_bundle(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    with serving(one.path) as first, serving(other.path) as second:
        same, differing = compare(first.url, first.url, one), compare(first.url, second.url, one)
    assert (same.differing, same.check().outcome) == (0, "passed")
    assert (differing.differing, differing.check().outcome) == (differing.rows, "failed")


@pytest.mark.slow
def test_without_an_engine_the_bundle_of_the_image_is_served_here(tmp_path):
    made, _ = build_image(tmp_path)
    evidence = verify_image(made.image, linear_bundle(tmp_path / "twin", "iris", seed=0), None)
    assert evidence.holds
    assert {"bundle", "equivalence"} <= {check.name for check in evidence.checks}


def test_an_image_without_the_model_cannot_be_compared(tmp_path):
    made, _ = build_image(tmp_path)
    with pytest.raises(ImageInvalid, match="a bundle `wine`, found `iris`"):
        verify_image(made.image, linear_bundle(tmp_path / "twin", "wine"), None)
