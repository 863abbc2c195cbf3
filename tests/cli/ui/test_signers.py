"""Whether the keys that somebody names have signed a bundle, said before anything of it runs."""

from __future__ import annotations

import json

from support.signing import private_file, public_file


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
