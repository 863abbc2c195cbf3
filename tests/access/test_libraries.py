"""Whether an access file can be kept to here, said before anything is served."""

from __future__ import annotations

import sys

import pytest

from lading.access.file import AccessFile
from lading.access.libraries import check_libraries
from lading.errors import ExtraMissing, InvalidSetting
from support.access_files import ISSUER_RULES, Keys

CERTIFICATE = '[[certificates]]\nname = "scorer"\nsubject = "CN=scorer"\nroles = ["predict"]\n'
ISSUER = ISSUER_RULES.format(issuer="https://login.example.com", keys="")


@pytest.mark.parametrize(("text", "library"), [(CERTIFICATE, "cryptography"), (ISSUER, "joserfc")])
def test_without_the_library_the_extra_is_named(text, library, monkeypatch):
    check_libraries(AccessFile.parse(text))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ExtraMissing, match="access"):
        check_libraries(AccessFile.parse(text))


def test_keys_alone_need_no_library(monkeypatch):
    keys = Keys()
    keys.add("a", "predict")
    for library in ("cryptography", "joserfc"):
        monkeypatch.setitem(sys.modules, library, None)
    check_libraries(keys.file())


def test_a_file_of_keys_that_is_missing_is_said_without_a_request():
    text = ISSUER_RULES.format(issuer="https://login.example.com", keys='jwks_file = "missing.json"')
    with pytest.raises(InvalidSetting, match=r"`missing\.json`"):
        check_libraries(AccessFile.parse(text))
