"""The layer of what was attested: beside the folders of bundles, and no layer if there is nothing."""

from __future__ import annotations

import tarfile

from lading.image.attestation_layer import attestation_layer


def test_what_was_attested_is_beside_each_bundle_with_a_line_for_each_text(tmp_path):
    layer = attestation_layer({"iris": ['{"a":1}', '{"b":2}'], "churn": []}, tmp_path)
    with tarfile.open(layer.path) as archive:
        files = {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}
    assert files == {"lading/bundles/iris.attestations.jsonl": b'{"a":1}\n{"b":2}\n'}


def test_the_same_texts_are_the_same_layer_and_without_any_there_is_none(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    layers = [attestation_layer({"iris": ["{}"]}, tmp_path / name) for name in ("first", "second")]
    assert layers[0].path.read_bytes() == layers[1].path.read_bytes()
    assert attestation_layer({"iris": []}, tmp_path) is None
    assert attestation_layer({}, tmp_path) is None
