"""Signing, attesting and looking at it, as people type it."""

from __future__ import annotations

import json

from support.signing import key_of, private_file, public_file


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
