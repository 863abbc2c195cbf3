"""Output: colour, tables on narrow terminals and in pipes, and numbers as people read them."""

from __future__ import annotations

import re

import pytest

from lading.cli.ui import printing
from lading.registry import Registry
from support.terminal import on_a_terminal


@pytest.mark.slow
def test_only_terminals_get_colour_and_no_color_is_respected(filled, lading):
    assert "\x1b[" in on_a_terminal("show", "none")
    assert "\x1b[" in on_a_terminal("list")
    assert "\x1b[3" not in on_a_terminal("show", "none", NO_COLOR="1")
    assert "\x1b[3" not in on_a_terminal("list", NO_COLOR="1")
    assert "\x1b" not in lading("list")[1]


@pytest.mark.slow
def test_a_narrow_terminal_breaks_no_digest(filled):
    with Registry.open(str(filled)) as registry:
        digest = registry.resolve("iris:1").digest[: len("sha256:") + 12]
    wide = on_a_terminal("list", "iris", COLUMNS="160", TERM="dumb").splitlines()
    assert len(wide) == 3
    assert any(digest in line for line in wide)
    narrow = on_a_terminal("list", "iris", COLUMNS="40", TERM="dumb")
    assert re.search(rf"^digest +{digest}\s*$", narrow, re.MULTILINE)
    assert len(re.findall("^digest ", narrow, re.MULTILINE)) == 2


@pytest.mark.slow
def test_prose_is_wrapped_between_words_before_a_table_becomes_blocks(bundle):
    output = on_a_terminal("verify", str(bundle.path), COLUMNS="80", TERM="dumb")
    assert output.splitlines()[0].split() == ["check", "outcome", "expected", "found"]
    assert max(map(len, output.splitlines()[:-1])) <= 80
    assert {"versions", "largest", "latency_p99_ms_32"} <= set(output.split())


def test_a_table_in_a_pipe_is_as_wide_as_its_content(capsys):
    printing.table(("a", "b"), [("x " * 9_000, ""), ("y", "")])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_fields_without_a_value_are_left_out_and_names_are_aligned(capsys):
    printing.fields([("name", "iris"), ("description", ""), ("owner", "ml@example.com")])
    assert capsys.readouterr().out == "name   iris\nowner  ml@example.com\n"


def test_counts_have_their_noun():
    assert [printing.plural(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def test_progress_and_spinner_draw_nothing_without_a_terminal(capsys):
    with printing.spinner("working"), printing.steps("packing") as on_step:
        on_step("converting")
    with printing.progress_bar("sending") as on_progress:
        assert on_progress is None
    assert capsys.readouterr() == ("", "")
