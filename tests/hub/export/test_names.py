"""Files of an export: one for each address, whatever it is called, and all within the folder."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from lading.hub.export.names import Address, file_of, relative

HOSTILE = (
    *("../../etc/passwd", "..", ".", "a/b", "a%2Fb", "%2e%2e", "a\\b", "C:\\x", "x" * 200, "x" * 201),
    *("host-1", "HOST-1", "Host-1", "con", "CON", "nul.txt", "com1", "lpt9", "a ", "a.", ".a", "-a", "~a"),
    *(
        "a~b",
        "a~~page-2",
        "é",
        "e\u0301",
        "\u202egpj.exe",
        "\x1b[31m",
        "\0",
        "a?b",
        "a#b",
        "a:b",
        "",
        "호스트",
    ),
)
PART = re.compile(r"[a-z0-9_-]*[a-z0-9_~-]+")


def replica(name: str) -> Address:
    return Address(f"/inventory/{quote(name, safe='')}")


def test_no_two_names_have_one_file_on_any_file_system():
    files = [file_of(replica(name)) for name in HOSTILE if name]
    assert len({file.casefold() for file in files}) == len(files)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_is_within_the_folder_and_takes_every_file_system(name):
    *folders, file = file_of(replica(name)).split("/")
    assert folders in (["inventory"], [])
    assert PART.fullmatch(file)
    assert len(file) <= 80
    assert file.split(".")[0] not in ("con", "nul", "com1", "lpt9")


def test_a_plain_name_is_its_own_file_and_a_query_is_in_it():
    assert file_of(Address("/")) == "home"
    assert file_of(Address("/models/iris/2")) == "models/iris/2"
    assert file_of(Address("/models", "page=2")) == "models~~page-2"
    assert file_of(Address("/alarms", "before=17.5~iris-1")) != file_of(
        Address("/alarms", "before=17.5~iris-2")
    )


def test_a_link_is_one_address_however_it_is_written():
    page = Address("/models", "page=2")
    assert Address.of("/models?page=3", page) == Address.of("?page=3", page) == Address("/models", "page=3")
    assert Address.of("/inventory/a%2fb") == Address.of("/inventory/a%2Fb")
    assert Address.of("?b=1&a=2", page) == Address.of("?a=2&b=1#x", page)
    for elsewhere in ("https://example.com/models", "//example.com", "mailto:a@b", "models", "http://[x"):
        assert Address.of(elsewhere, page) is None


def test_a_link_between_files_is_relative():
    assert relative("assets/hub.css", "models/iris/2.html") == "../../assets/hub.css"
    assert relative("models.html", "home.html") == "models.html"
