"""Signing, attesting and looking at it, as people type it."""

from __future__ import annotations

import json

import pytest

from lading.registry.beside import read_beside
from support.bundles import linear_bundle
from support.signing import key_of, private_file, public_file, signature, statement


@pytest.fixture
def ci(lading, tmp_path):
    assert lading("key", "new", "ci.pem")[0] == 0
    return tmp_path / "ci.pem"


def test_a_key_is_made_and_shown(lading, tmp_path):
    code, out, err = lading("key", "new", tmp_path / "ci.pem", "--kind", "ed25519", "--json")
    made = json.loads(out)
    assert (code, made["kind"], made["public"]) == (0, "ed25519", str(tmp_path / "ci.pub"))
    assert "next: lading sign DIR --key" in err
    assert json.loads(lading("key", "show", "ci.pub", "--json")[1]) == {"kind": "ed25519", "id": made["id"]}
    assert lading("key", "show", "ci.pub")[1] == f"kind  ed25519\nid    {made['id']}\n"
    code, _, err = lading("key", "new", tmp_path / "ci.pem")
    assert code == 2
    assert "expected a name that is free, found a file" in err


def test_a_passphrase_is_read_from_a_file(lading, bundle, tmp_path):
    (tmp_path / "secret").write_text("open sesame\n")
    assert lading("key", "new", "ci.pem", "--passphrase-file", "secret")[0] == 0
    assert "ENCRYPTED" in (tmp_path / "ci.pem").read_text()
    code, _, err = lading("sign", bundle.path, "--key", "ci.pem")
    assert code == 2
    assert "name the file that holds its passphrase with `--passphrase-file`" in err
    assert lading("sign", bundle.path, "--key", "ci.pem", "--passphrase-file", "secret")[0] == 0


def test_a_signed_folder_is_verified_by_its_key_and_by_no_other(lading, bundle, ci):
    code, out, err = lading("sign", bundle.path, "--key", ci, "--actor", "ann", "--reason", "nightly")
    assert (code, len(out.strip())) == (0, 64)
    assert f"signed `{bundle.path}`, {bundle.digest}, kept in `{bundle.path}.attestations.jsonl`" in err
    code, _, err = lading("verify", bundle.path, "--signed-by", "ci.pub", "--signatures-only")
    assert code == 0
    assert err.startswith("signed by `ci.pub` (p256 key ")
    stated = json.loads(lading("inspect", bundle.path, "--json")[1])["attestations"]
    assert [(each["actor"], each["reason"], each["digests"]) for each in stated] == [
        ("ann", "nightly", [bundle.digest])
    ]
    assert "attested" in lading("inspect", bundle.path)[1]
    code, _, err = lading("verify", bundle.path, "--signed-by", public_file("ann"), "--signatures-only")
    assert code == 1
    assert "found one by the key with the hint" in err


def test_every_key_that_is_named_must_have_signed(lading, bundle, ci):
    lading("sign", bundle.path, "--key", ci)
    lading("attest", bundle.path, "--approve", "--key", private_file("ann"))
    words = ("verify", bundle.path, "--signed-by", "ci.pub", "--signed-by", public_file("ann"))
    code, _, err = lading(*words, "--signatures-only")
    assert code == 1
    assert "expected a signature by the key" in err
    lading("sign", bundle.path, "--key", private_file("ann"))
    code, out, _ = lading(*words, "--signatures-only", "--json")
    assert code == 0
    assert [each["key_file"] for each in json.loads(out)["signed_by"]] == ["ci.pub", str(public_file("ann"))]


def test_signatures_are_looked_at_before_anything_runs(lading, bundle):
    code, out, err = lading("verify", bundle.path, "--signed-by", public_file("ci"))
    assert (code, out) == (1, "")
    assert f"hint: `lading sign {bundle.path} --key KEY.pem` makes one" in err
    code, _, err = lading("verify", bundle.path, "--signatures-only")
    assert code == 2
    assert "expected `--signed-by`" in err


def test_a_version_is_signed_in_its_registry(lading, filled, opened):
    assert lading("sign", "iris:2", "--key", private_file("ci"))[0] == 0
    digest = opened.resolve("iris:2").digest
    (row,) = opened.attachments.of(digest)
    assert row.kind == "attestation"
    key = key_of("ci").public
    listed = json.loads(lading("list", "iris", "--json")[1])["versions"]
    assert [version["signed_by"] for version in listed] == [[], [key.id]]
    assert key.id[:8] in lading("list")[1]
    stated = json.loads(lading("show", "iris:2", "--json")[1])["attestations"]
    assert [(each["key"], each["predicate"]) for each in stated] == [
        (key.id, "https://model_signing/signature/v1.0")
    ]
    assert f"key {key.short_id}" in lading("show", "iris:2")[1]
    assert lading("verify", "iris:2", "--signed-by", public_file("ci"), "--signatures-only")[0] == 0


def test_a_list_in_which_nothing_is_signed_has_no_column_for_it(lading, filled):
    assert "signed by" not in lading("list", "iris")[1]


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


def test_a_damaged_attestation_is_shown_as_such(lading, filled, opened):
    digest = opened.resolve("iris:1").digest
    opened.attest(digest, '{"x": 1}')
    assert "expected a sigstore bundle with a DSSE envelope" in lading("show", "iris:1")[1]
    assert json.loads(lading("list", "iris", "--json")[1])["versions"][0]["signed_by"] == []


def test_a_rollback_says_what_the_policy_would_not_let_in(lading, proved, tmp_path):
    from support.signing import policy_file

    for number in (1, 2):
        assert lading("release", f"iris:{number}")[0] == 0
    code, _, err = lading("rollback", "iris", "--trust-policy", policy_file(tmp_path))
    assert code == 0
    assert "note: servers with this trust policy do not load it: `iris` (`sha256:" in err
