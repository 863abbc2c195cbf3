"""How commands end: exit codes, sentences, hints, and what wrong use is answered with."""

from __future__ import annotations

import sys

import click
import pytest

from lading import errors
from lading.cli.ui import exit_codes, printing
from lading.errors import ExtraMissing, RemoteError


def test_every_error_has_an_exit_code():
    for leaf in errors.leaves():
        assert exit_codes.exit_code(leaf("somewhere")) in (1, 2, 3, 4), leaf


def test_no_error_stands_in_the_table_twice_or_for_nothing():
    for kind, code in exit_codes.EXIT.items():
        above = next((exit_codes.EXIT[one] for one in kind.__mro__[1:] if one in exit_codes.EXIT), None)
        assert code != above, f"{kind.__name__} says the same as the class above it"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("GoldenMismatch", 1),
        ("ParityLost", 1),
        ("DigestMismatch", 1),
        ("DestinationExists", 1),
        ("InvalidReference", 2),
        ("ExtraMissing", 2),
        ("ModelNotFound", 3),
        ("LabelsNotFound", 3),
        ("ServerUnavailable", 4),
        ("RegistryUnavailable", 4),
        ("QueueFull", 4),
    ],
)
def test_errors_end_with_the_code_of_their_kind(kind, code):
    assert exit_codes.exit_code(getattr(errors, kind)("somewhere")) == code


@pytest.mark.parametrize(("status", "code"), [(400, 1), (404, 3), (413, 1), (429, 4), (500, 1), (504, 4)])
def test_what_a_server_answered_counts_by_its_status(status, code):
    assert exit_codes.exit_code(RemoteError("somewhere", status=status)) == code


def test_an_error_is_one_sentence_and_a_hint_on_stderr(capsys):
    error = ExtraMissing("here", expected="a thing", found="none", hint="pip install it")
    assert exit_codes.report(error, debug=False) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: here: expected a thing, found none\nhint: pip install it\n")


def test_a_defect_says_how_to_see_the_traceback(capsys):
    assert exit_codes.report(KeyError("x"), debug=False) == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 2
    assert "LADING_DEBUG=1" in said
    assert "Traceback" not in said


def test_debugging_shows_the_traceback(capsys, lading, monkeypatch):
    monkeypatch.setenv("LADING_DEBUG", "1")
    code, _, said = lading("show", "iris")
    assert code == 3
    assert "Traceback" in said
    assert "error: " in said.splitlines()[-1] or said.splitlines()[-1].startswith("hint: ")


def test_an_interrupt_ends_with_130():
    assert exit_codes.report(KeyboardInterrupt(), debug=False) == 130
    assert exit_codes.report(click.Abort(), debug=False) == 130


def test_a_file_that_cannot_be_read_is_a_sentence(capsys):
    error = PermissionError(13, "Permission denied", "/some/where")
    assert exit_codes.report(error, debug=False) == 4
    assert capsys.readouterr().err == "error: `/some/where`: permission denied\n"


def test_terminal_escapes_in_messages_are_shown_not_sent(capsys):
    exit_codes.report(errors.ModelNotFound("model `\x1b]0;title\x07`"), debug=False)
    assert "\x1b" not in capsys.readouterr().err
    assert printing.printable("a\x1b[31mb\x00\u202e\n") == "a\\x1b[31mb\\x00\\u202e\n"


def test_every_exit_code_has_a_meaning():
    assert set(exit_codes.EXIT.values()) <= set(exit_codes.MEANING)


@pytest.mark.parametrize(
    ("arguments", "sentence", "hint"),
    [
        (["pakc"], "no such command `pakc`", "did you mean `pack`?"),
        (["xyzzy"], "no such command `xyzzy`", "see `lading --help`"),
        (["serve", "--prot", "1"], "no such option `--prot`", "did you mean `--port`"),
        (["serve", "--port", "-1"], "invalid value for `--port`: -1", "see `lading serve --help`"),
        (["serve", "--workers", "many"], "`--workers`: `many` is not a whole number", "see"),
        (
            ["image", "base", "--from", "none.tar.xz", "--wheels", ".", "--to", "oci:x"],
            "file `none.tar.xz` does not exist",
            "see",
        ),
        (["serve", "--log-level", "loud"], "invalid value for `--log-level`", "see `lading serve --help`"),
        (["serve", "./none.bundle"], "directory `./none.bundle` does not exist", "see"),
        (["push", "none"], "`DIR`: directory `none` does not exist", "see `lading push --help`"),
        (["verify", "iris", "--gates", "none"], "`--gates`: file `none` does not exist", "see"),
        (["completion"], "missing argument `SHELL`, one of `bash`, `zsh`, `fish`", "see"),
        (["completion", "tcsh"], "`SHELL`: `tcsh` is not one of `bash`, `zsh`, `fish`", "see"),
        (["serve", "--port", "65536"], "invalid value for `--port`: 65536", "see"),
        (["pack", "none.onnx", "--name", "a", "--owner", "b", "--purpose", "c"], "does not exist", "see"),
        (["pack", "m.onnx", "--metric", "acc"], "expected `name=number`, found `acc`", "see"),
        (["pack", "m.onnx", "--metric", "acc=high"], "expected `name=number`", "see"),
        (["show", "Iris"], "reference `Iris`", ""),
        (["tag", "iris:1", "3"], "tag: expected a name", "a number is a version"),
        (["predict", "http://127.0.0.1:1", "--sample"], "`--sample` needs", "see"),
        (["predict", "iris"], "expected `--input FILE` or `--sample`", "see"),
        (["predict", "iris", "--sample", "--model", "b"], "`--model` needs a URL", "see"),
        (["predict", "iris", "--sample", "--label", "--output", "y"], "and not both", "see"),
    ],
)
def test_wrong_use_ends_with_2_and_a_hint(lading, arguments, sentence, hint):
    code, out, said = lading(*arguments)
    assert code == 2, said
    assert out == ""
    first, _, rest = said.partition("\n")
    assert first.startswith("error: ")
    assert sentence in first
    assert hint in rest


@pytest.mark.parametrize(
    "command", [("verify",), ("inspect",), ("predict", "--sample"), ("serve", "--port", "0")]
)
def test_a_model_that_is_not_there_may_be_meant_as_a_directory(lading, filled, command):
    code, _, said = lading(*command, "irsi")
    assert code == 3
    assert f"error: model `irsi`: expected a model of registry `{filled}`, found no such model\n" in said
    assert said.endswith("hint: did you mean `iris`? (a directory is written `./irsi`)\n")
    assert "./" not in lading(*command, "irsi:1")[2]
    assert "./" not in lading("show", "irsi")[2]


def test_nothing_at_all_is_answered_with_the_help(lading):
    code, out, said = lading()
    assert (code, out) == (2, "")
    assert "pack" in said


def test_the_version_is_told(lading):
    assert lading("--version") == (0, "lading 0.1.0\n", "")


def test_serving_without_its_extra_says_what_to_install(lading, bundle, monkeypatch):
    # Python's own way to say that a module is not installed; uninstalling it would harm the other tests.
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in [name for name in sys.modules if name.startswith("lading.server")]:
        monkeypatch.delitem(sys.modules, name)
    code, _, said = lading("serve", bundle.path)
    assert code == 2
    assert "no module `uvicorn`" in said
    assert "hint: `pip install 'lading[serve]'`\n" in said
