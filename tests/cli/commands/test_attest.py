"""`lading attest`: what somebody states about a bundle, or brings from others."""

from __future__ import annotations

import json

import pytest

from lading.registry.beside import read_beside
from support.bundles import linear_bundle
from support.signing import private_file, public_file, signature, statement


def test_evidence_of_the_registry_or_of_a_file_is_attested(lading, proved, tmp_path):
    assert lading("attest", "iris:1", "--predicate", "evidence", "--key", private_file("ci"))[0] == 0
    (stated,) = json.loads(lading("show", "iris:1", "--json")[1])["attestations"]
    assert stated["predicate"] == "urn:lading:evidence:v1"
    (tmp_path / "bias.json").write_text('{"bias": 0.1}')
    words = ("--predicate", "https://example.com/bias/v1", "--key", private_file("ci"))
    assert lading("attest", "iris:1", *words, "--evidence", "bias.json")[0] == 0
    code, _, err = lading("attest", "iris:1", *words)
    assert code == 2
    assert "expected `--evidence FILE`, the JSON that is stated, found none" in err
    (tmp_path / "bias.json").write_text("[]")
    assert "expected a JSON object" in lading("attest", "iris:1", *words, "--evidence", "bias.json")[2]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--approve"], "expected `--key`"),
        ([], "expected `--predicate`, `--approve` or `--import`, found none"),
        (["--predicate", "aproval"], "did you mean `approval`?"),
        (["--predicate", "release", "--approve"], "found both"),
        (["--predicate", "signature", "--key", "KEY", "--evidence", "E"], "`lading sign` makes it"),
        (["--predicate", "evidence", "--key", "KEY"], "`lading verify DIR --json > evidence.json`"),
    ],
)
def test_what_cannot_be_attested_is_a_usage_error(lading, bundle, words, text, tmp_path):
    (tmp_path / "E").write_text("{}")
    words = [str(private_file("ci")) if word == "KEY" else word for word in words]
    code, _, err = lading("attest", bundle.path, *words)
    assert code == 2
    assert text in err
    assert read_beside(bundle.path) == []


def test_what_others_have_signed_is_imported_if_it_is_about_this_bundle(lading, bundle, tmp_path):
    text = signature(bundle, "bob")
    (tmp_path / "pretty.sig").write_text(json.dumps(json.loads(text), indent=2))
    (tmp_path / "two.jsonl").write_text(f"{text}\n{statement(bundle)}\n")
    assert lading("attest", bundle.path, "--import", "pretty.sig")[0] == 0
    assert lading("attest", bundle.path, "--import", "two.jsonl")[0] == 0
    assert len(read_beside(bundle.path)) == 3
    assert lading("verify", bundle.path, "--signed-by", public_file("bob"), "--signatures-only")[0] == 0
    other = linear_bundle(tmp_path / "other.bundle", seed=9)
    code, _, err = lading("attest", other.path, "--import", "pretty.sig")
    assert code == 1
    assert "expected a statement about" in err
    # Without keeping it: beside the bundle nothing is written.
    words = ("--signed-by", public_file("bob"), "--attestations", "pretty.sig", "--signatures-only")
    code, _, err = lading("verify", other.path, *words)
    assert code == 1
    assert "it was made for another bundle" in err
    code, _, err = lading("attest", bundle.path, "--import", "two.jsonl", "--approve")
    assert code == 2
