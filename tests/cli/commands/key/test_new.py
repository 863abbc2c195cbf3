"""`lading key new`: a private key that signs, and its public half."""

from __future__ import annotations

import json


def test_a_key_is_made_beside_its_public_half_and_nothing_is_overwritten(lading, tmp_path):
    code, out, err = lading("key", "new", tmp_path / "ci.pem", "--kind", "ed25519", "--json")
    made = json.loads(out)
    assert (code, made["kind"], made["public"]) == (0, "ed25519", str(tmp_path / "ci.pub"))
    assert "next: lading sign DIR --key" in err
    code, _, err = lading("key", "new", tmp_path / "ci.pem")
    assert code == 2
    assert "expected a name that is free, found a file" in err
