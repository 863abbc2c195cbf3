"""Orders of versions, held to the programs that define them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lading.trust.versions import debian_key, parser_of, pypi_key

_UPSTREAM = st.from_regex(r"[0-9]{1,2}[0-9a-bA.+~]{0,4}", fullmatch=True)
_REVISION = st.from_regex(r"(-[0-9a~+.]{1,3})?", fullmatch=True)
_EPOCH = st.sampled_from(["", "", "0:", "1:", "01:"])
DEBIAN = st.builds(lambda *parts: "".join(parts), _EPOCH, _UPSTREAM, _REVISION)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dpkg") is None, reason="asks dpkg itself")
@settings(max_examples=60, deadline=None)
@given(DEBIAN, DEBIAN)
@example("1.0", "1.0-0")
@example("1.0~rc1", "1.0")
@example("1.0~~", "1.0~")
@example("1.0+b1", "1.0a")
@example("2:1.0", "3.0")
@example("1.a", "1.a0")
@example("1.010", "1.10")
def test_versions_of_debian_sort_as_dpkg_sorts_them(first, second):
    relation = "lt" if debian_key(first) < debian_key(second) else "eq"
    relation = "gt" if debian_key(first) > debian_key(second) else relation
    command = ["dpkg", "--compare-versions", first, relation, second]
    assert subprocess.run(command, check=False).returncode == 0, command


def test_letters_sort_before_signs_and_a_tilde_before_the_end():
    texts = ["1.0~~", "1.0~", "1.0", "1.0a", "1.0+", "1.0.1", "1.0-1~", "1.1", "1:0"]
    in_order = sorted(texts, key=debian_key)
    assert in_order == ["1.0~~", "1.0~", "1.0", "1.0-1~", "1.0a", "1.0+", "1.0.1", "1.1", "1:0"]


@pytest.mark.parametrize("text", ["", "a b", "1.0\n2", "x" * 300])
def test_what_is_no_version_of_debian_is_none(text):
    assert debian_key(text) is None


def test_a_local_version_is_the_release_that_it_was_built_from():
    assert pypi_key("2.1.0+cpu") == pypi_key("2.1")
    assert pypi_key("2.1.0rc1") < pypi_key("2.1.0") < pypi_key("1!0.1")
    assert pypi_key("not-a-version") is None
    assert pypi_key("1" * 300) is None


def test_other_ecosystems_have_no_order_here():
    assert parser_of("npm") is None
    assert parser_of("Debian:12") is debian_key
