"""Colour on terminals, and completion in a real shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lading.cli.ui import printing
from lading.registry import Registry
from support.terminal import on_a_terminal


def test_colour_goes_to_terminals_only_and_no_color_is_obeyed(filled, lading):
    assert "\x1b[" in on_a_terminal("show", "none")
    assert "\x1b[" in on_a_terminal("list")
    assert "\x1b[3" not in on_a_terminal("show", "none", NO_COLOR="1")
    assert "\x1b[3" not in on_a_terminal("list", NO_COLOR="1")
    assert "\x1b" not in lading("list")[1]


def test_a_narrow_terminal_breaks_no_word(filled):
    with Registry.open(str(filled)) as registry:
        digest = registry.resolve("iris:1").digest[: len("sha256:") + 12]
    wide = on_a_terminal("list", "iris", COLUMNS="160", TERM="dumb").splitlines()
    assert len(wide) == 3
    assert any(digest in line for line in wide)
    narrow = on_a_terminal("list", "iris", COLUMNS="40", TERM="dumb")
    assert re.search(rf"^digest +{digest}\s*$", narrow, re.MULTILINE)
    assert len(re.findall("^digest ", narrow, re.MULTILINE)) == 2


def test_prose_is_wrapped_between_words_before_a_table_becomes_blocks(bundle):
    said = on_a_terminal("verify", str(bundle.path), COLUMNS="80", TERM="dumb")
    assert said.splitlines()[0].split() == ["check", "outcome", "expected", "found"]
    assert max(map(len, said.splitlines()[:-1])) <= 80
    assert {"versions", "largest", "latency_p99_ms_32"} <= set(said.split())


def test_a_table_in_a_pipe_is_as_wide_as_its_content(capsys):
    printing.table(("a", "b"), [("x " * 9_000, ""), ("y", "")])
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(lading, shell):
    code, out, _ = lading("completion", shell)
    assert code == 0
    assert "_LADING_COMPLETE" in out


def test_bash_completes_commands_and_references_with_colons(filled, tmp_path):
    script = tmp_path / "completion.bash"
    with script.open("w") as file:
        subprocess.run([sys.executable, "-m", "lading", "completion", "bash"], stdout=file, check=True)
    assert complete(script, "lading", "ver") == ["verify"]
    assert complete(script, "lading", "show", "ir") == ["iris"]
    assert complete(script, "lading", "show", "iris:") == ["iris:1", "iris:2", "iris:stable"]
    assert "--port" in complete(script, "lading", "serve", "--po")


def complete(script, *words):
    line = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _lading_completion lading '' '';"
        " printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=True
    )
    return sorted(done.stdout.split())


def test_completing_makes_no_registry(lading, registry, tmp_path):
    environ = {
        **os.environ,
        "_LADING_COMPLETE": "bash_complete",
        "COMP_WORDS": "lading show i",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-m", "lading"], capture_output=True, text=True, env=environ, check=True
    )
    assert done.stdout.strip() == ""
    assert not registry.exists()
