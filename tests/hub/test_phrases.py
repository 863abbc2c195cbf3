"""Every error that a page can have is said in every language: by its form, and by the parts in the source."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import pytest

from lading.errors import GoldenMismatch, InputMissing
from lading.hub import words
from lading.hub.phrases import error, phrase
from lading.hub.sentences import say, say_reason
from lading.hub.words import LANGUAGES, translator
from support.hub_troubles import OF_ONNX_RUNTIME, errors, failures
from support.raised_errors import SOURCE, wordings

KOREAN = translator("ko")
OTHERS = [language for language in LANGUAGES if language != "en"]

SHOWN = (
    *("hub", "registry", "blobs", "oci", "rollout", "release", "runtime", "verify", "signature", "batch"),
    *("bundle", "server/jobs", "server/loading", "monitor/log", "onnx_runtime", "ref.py", "text_patterns.py"),
    *(
        "trust/attestation.py",
        "trust/envelope.py",
        "trust/judge.py",
        "trust/signing.py",
        "trust/statement.py",
    ),
)
"""Where errors are raised that pages have: of the hub, of what it reads, and of servers and runs."""

NOT_SHOWN = (
    # Of commands that end with them.
    *("hub/export", "hub/key.py", "hub/listening.py", "hub/serve.py", "hub/beside.py", "release/seals.py"),
    *("runtime/python/resolver.py", "verify/upgrade.py", "batch/engines/named.py", "monitor/log/deletion.py"),
    "batch/on_ray/cluster.py",
    # Of a function in a frame of Spark, and of requests to a server: no run and no version has them.
    *("batch/on_spark", "registry/fleet.py", "signature/csvtext.py"),
)

BY_OTHERS = frozenset(
    {
        # The C library, in lower case as errors quote it, and Starlette.
        *("no space left on device", "permission denied", "no such file or directory", "not a directory"),
        *("read-only file system", "file exists", "input/output error", "connection refused"),
        *("Not Found", "Method Not Allowed"),
    }
)

COMPOSED = frozenset(
    {
        *(f"a text of at {bound} {{number}} characters" for bound in ("least", "most")),
        *("a time at least {number}", "a time at most {text}", "input `{name}` added since"),
        "`{name}` of {number} bytes without them",
        "it holds on {listed} ({fingerprint}): serve it there; `{command}`",
        "release {number} of `{name}` was rolled back: {text}",
        "that {doing} ended with {signal} in the onnx package{last}",
        # By a trust policy, of roles, keys and places.
        *(f"a{what} by a key that is `{{role}}`" for what in ("n approval", " release", " signature")),
        *(f"{what} by `{{name}}`" for what in ("approval", "signature")),
        *(f"{verb}, attestation `{{name}}`" for verb in ("loaded", "released")),
        *(f"a signature by {keys} that counts here" for keys in ("one key", "one of {number} keys")),
        *("one by a key that it does not name", "one by the key with the hint {number}"),
        *("`{name}` attested", "digest `{digest}`", "mediaType `{name}`", "payloadType `{name}`"),
    }
)
"""What the source puts together of pieces that are shorter than the phrase."""


def files() -> list[Path]:
    paths = {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}
    return [path for name, path in paths.items() if name.startswith(SHOWN) and not name.startswith(NOT_SHOWN)]


def in_file(language: str) -> dict[str, str]:
    path = Path(words.__file__).parent / "languages" / f"{language}-errors.json"
    return json.loads(path.read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("language", OTHERS)
def test_every_part_of_every_error_has_words_in_every_language(language):
    t = translator(language)
    every = list(wordings(files()))
    assert len(every) > 1000
    # A part stands where it does in an error: what has no words of a language needs none.
    left = {}
    for wording in every:
        around = f"`x`: expected {wording.text}" if wording.part != "where" else f"{wording.text}: expected 7"
        if wording.part == "hint":
            korean = phrase(t, wording.text) or 'lang="en"'
        else:
            korean = error(t, around) or 'lang="en"'
        if 'lang="en"' in korean:
            left[f"{wording.part}: {wording.text}"] = wording.place
    assert left == {}


@pytest.mark.slow
@pytest.mark.parametrize("language", OTHERS)
def test_every_phrase_is_one_of_the_source(language):
    # As one text, without what divides literals over lines.
    source = "".join(path.read_text("utf-8") for path in sorted(SOURCE.rglob("*.py")))
    source = re.sub(r"[\"']\s*\n\s*f?[\"']", "", source).replace("{{", "{").replace('\\"', '"')
    left = []
    for key in set(in_file(language)) - BY_OTHERS - COMPOSED:
        longest = max(re.split(r"\{\w+\}", key), key=len).strip(" `")
        if longest[:24] not in source:
            left.append(key)
    assert left == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_phrase_has_its_values_in_every_language(language):
    known = in_file(language)

    def values(text: str) -> list[str]:
        return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)

    assert list(known) == sorted(known)
    assert [key for key, text in known.items() if values(key) != values(text)] == []
    # Names and units alone stay as they are.
    same = [key for key, text in known.items() if not re.search("[가-힣]", text)]
    bare = [re.sub(r"\{\w+\}|`[^`]*`", "", key) for key in same]
    assert [key for key in bare if len(re.findall("[a-z]{2,}", key)) > 1] == []


def test_an_error_is_said_by_its_form():
    missing = InputMissing("input `a.parquet`", expected="column `age`", found="`amount`, `hour`")
    assert say(KOREAN, str(missing)) == "입력 `a.parquet` · 예상: 열 `age` · 실제: `amount`, `hour`"
    golden = GoldenMismatch("`iris:2`", expected="0.4 within rtol 1e-05, atol 1e-06", found="0.5")
    assert say_reason(KOREAN, f"{golden.message} (on models-3)") == (
        "`iris:2` · 예상: rtol 1e-05, atol 1e-06 안의 0.4 · 실제: 0.5 (서버: models-3)"
    )
    # A quotation may have the words of the form.
    assert say(KOREAN, "column `a: expected b, found c`: expected a number, found no value") == (
        "열 `a: expected b, found c` · 예상: 숫자 · 실제: 값 없음"
    )


def test_a_hint_is_set_apart():
    text = str(failures()[3])
    assert '<span class="under">끝나기를 기다리거나 다른 폴더에 쓰세요</span>' in say(KOREAN, text)
    assert '<span class="under">wait for it' in say(translator("en"), text)


def test_what_another_library_says_stays_as_it_is():
    korean = [str(say(KOREAN, str(each))) for each in (*errors(), *failures())]
    english = [text for each in korean for text in re.findall(r'<span lang="en">(.*?)</span>', each)]
    assert len(english) == 4
    assert OF_ONNX_RUNTIME in english
    # A sentence of which nothing is known is English as a whole, and no half of one is guessed.
    assert say(KOREAN, "Segmentation fault") == '<span lang="en">Segmentation fault</span>'


def test_a_hostile_error_is_text_and_is_read_in_no_time():
    assert "&lt;b&gt;" in say(KOREAN, "input `<b>`: expected <i>, found `</span>`")
    assert "<i>" not in say(KOREAN, "input `<b>`: expected <i>, found `</span>`")
    for text in (
        "`a` of " * 140,
        "a: expected " * 80,
        "x, or `y` from " * 60,
        "a (on b) " * 100,
        "it; is" * 99,
    ):
        say(KOREAN, text)
        assert len(say(KOREAN, 9000 * text)) < 3000
