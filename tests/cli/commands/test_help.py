"""`lading help`: the help of a command, where other tools have it."""

from __future__ import annotations


def test_help_as_a_command_prints_what_the_option_prints(lading):
    assert lading("help") == lading("--help")
    for words in (("pack",), ("image", "build")):
        assert lading("help", *words) == lading(*words, "--help")
    code, _, stderr = lading("help", "verfy")
    assert (code, stderr) == (2, "error: no such command `verfy`\nhint: did you mean `verify`?\n")
    code, _, stderr = lading("help", "pack", "x")
    assert (code, "`lading pack` has no command `x`" in stderr) == (2, True)
