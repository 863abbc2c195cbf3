"""`lading access check`: who may do what by an access file."""

from __future__ import annotations

import json

import pytest

from support.access_files import ISSUER_RULES, Keys


@pytest.fixture
def file(tmp_path):
    keys = Keys()
    keys.add("ann", "release", more='models = ["iris"]\nexpires = 2030-01-31\nrate = "5/s"')
    keys.text += ISSUER_RULES.format(issuer="https://login.example.com", keys="")
    return keys.write(tmp_path / "access.toml")


def test_every_caller_is_a_line_with_the_roles_that_are_implied(lading, file):
    code, out, _ = lading("access", "check", file)
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 4)
    assert lines[0] == "key  ann  read,release  iris  until 2030-01-31T23:59:59Z  rate 5/s"
    assert lines[1] == "token  https://login.example.com groups=scorers  predict  iris*"


def test_json_has_the_same_callers(lading, file):
    stated = json.loads(lading("access", "check", file, "--json")[1])
    assert [caller["kind"] for caller in stated["callers"]] == ["key", "token", "token", "token"]
    assert stated["callers"][0]["expires"] == "2030-01-31T23:59:59Z"


def test_a_file_that_a_server_would_refuse_is_refused(lading, file):
    file.write_text(file.read_text().replace('"release"', '"relase"'))
    code, out, err = lading("access", "check", file)
    assert (code, out) == (2, "")
    assert "did you mean `release`?" in err
