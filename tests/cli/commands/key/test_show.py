"""`lading key show`: which key a file holds."""

from __future__ import annotations

import hashlib
import json

from support.signing import private_file, public_file


def test_the_id_of_a_key_is_the_hash_of_its_file(lading):
    digest = hashlib.sha256(public_file("ci").read_bytes()).hexdigest()
    expected = {"kind": "p256", "id": digest}
    assert json.loads(lading("key", "show", public_file("ci"), "--json")[1]) == expected
    assert lading("key", "show", public_file("ci"))[1] == f"kind  p256\nid    {digest}\n"


def test_a_private_key_is_refused_and_not_printed(lading):
    code, out, err = lading("key", "show", private_file("ci"))
    assert (code, out) == (2, "")
    assert private_file("ci").read_text().splitlines()[1] not in err
