from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import InvalidName, InvalidReference, LadingError
from lading.ref import Ref, check_name, check_tag, is_digest, version_number

DIGEST = "sha256:" + "0a" * 32
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("iris", Ref("iris")),
        ("iris:3", Ref("iris", version=3)),
        ("iris:live", Ref("iris", tag="live")),
        ("iris:v1.2", Ref("iris", tag="v1.2")),
        (f"iris@{DIGEST}", Ref("iris", digest=DIGEST)),
        ("a" * 63, Ref("a" * 63)),
    ],
)
def test_a_reference_reads_back_as_it_is_written(text, ref):
    assert Ref.parse(text) == ref
    assert str(ref) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "@",
        "iris:",
        "iris@",
        ":3",
        "Iris",
        "-iris",
        "iris-",
        "a" * 64,
        "iris:0",
        "iris:03",
        "iris:-1",
        "iris:" + "9" * 5000,
        "iris:1:2",
        "iris:Live",
        "iris:٣",
        "iris:live@" + DIGEST,
        "iris@sha256:0a",
        "iris@" + DIGEST.upper(),
        "iris@" + DIGEST + "\n",
        "iris\n",
        "iris ",
        "../iris",
        "iris/v2",
        "iris:3\n",
    ],
)
def test_an_invalid_reference_is_refused_with_the_grammar(text):
    with pytest.raises(InvalidReference, match="expected `iris`, `iris:3`, `iris:live`"):
        Ref.parse(text)


@pytest.mark.slow
@given(NAMES, st.one_of(st.none(), st.integers(1, 10**9), NAMES))
def test_every_reference_reads_back_from_its_text(name, pin):
    ref = Ref(name, version=pin) if isinstance(pin, int) else Ref(name, tag=pin)
    if not (isinstance(pin, str) and pin.isdigit()):
        assert Ref.parse(str(ref)) == ref


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_refused(text):
    try:
        assert str(Ref.parse(text)) == text
    except InvalidReference:
        with pytest.raises(LadingError):
            Ref.parse(text)


@pytest.mark.slow
@given(NAMES)
def test_a_name_of_the_grammar_is_a_name(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a b", "é", "a\n", ".a", "a.", "a" * 64, "٣"])
def test_another_name_is_refused(name):
    with pytest.raises(InvalidName, match="expected `\\[a-z0-9\\]"):
        check_name(name)


@pytest.mark.parametrize("tag", ["1", "42", "٣", "", "Live", "a b"])
def test_a_tag_is_a_name_and_no_number(tag):
    with pytest.raises(InvalidName, match="tag"):
        check_tag(tag)
    assert check_tag("v1") == "v1"


def test_a_digest_is_sha256_in_lower_case():
    assert is_digest(DIGEST)
    assert not any(map(is_digest, ["", DIGEST[:-1], DIGEST + "0", DIGEST.upper(), DIGEST + "\n", DIGEST[7:]]))


@pytest.mark.parametrize(
    ("text", "number"),
    [("3", 3), ("0", 0), ("", None), ("-1", None), ("live", None), ("٣", None), ("9" * 20, None)],
)
def test_the_version_of_a_request_is_a_decimal_number(text, number):
    assert version_number(text) == number
