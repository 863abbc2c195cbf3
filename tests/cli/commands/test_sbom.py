"""What a bundle or an image consists of, as CycloneDX on stdout or in a file."""

from __future__ import annotations

import json

from lading.registry import Registry
from support.images import tiny_base


def test_a_document_is_written_to_stdout_with_the_same_bytes_each_time(lading, bundle):
    code, first, stderr = lading("sbom", bundle.path)
    assert (code, stderr) == (0, "")
    assert lading("sbom", bundle.path)[1] == first
    document = json.loads(first)
    assert document["metadata"]["component"]["name"] == "iris"
    assert {each["purl"] for each in document["components"]} == {
        "pkg:pypi/numpy@2.0.0",
        "pkg:pypi/onnxruntime@1.20.0",
    }


def test_a_version_is_named_with_its_number_and_recorded_on_request(lading, filled, tmp_path):
    code, _, stderr = lading("sbom", "iris:2", "-o", "iris.cdx.json", "--record")
    assert code == 0
    assert stderr == "`iris.cdx.json` lists 2 components of `iris`\n"
    text = (tmp_path / "iris.cdx.json").read_text()
    assert json.loads(text)["metadata"]["component"]["version"] == "2"
    with Registry.open(str(filled)) as registry:
        (attached,) = registry.attachments.of(registry.resolve("iris:2").digest, "sbom")
    assert attached.body == text


def test_json_says_what_was_written(lading, bundle):
    stdout = lading("sbom", bundle.path, "-o", "out.json", "--json")[1]
    assert json.loads(stdout) == {"path": "out.json", "format": "cyclonedx", "components": 2}


def test_an_image_is_read_from_its_layers(lading, tmp_path):
    code, stdout, _ = lading("sbom", tiny_base(tmp_path / "base"))
    assert code == 0
    assert json.loads(stdout)["metadata"]["component"]["type"] == "container"


def test_what_does_not_exist_is_said_in_one_sentence(lading, filled):
    assert lading("sbom", "iris:9")[0] == 3
    assert lading("sbom", "./nothing")[0] == 2
    assert lading("sbom", "oci:./nothing:iris")[0] == 3
