"""How commands end: exit codes, error messages, and hints."""

from __future__ import annotations

import click
import pytest

from lading import errors
from lading.cli.ui import exit_codes, printing
from lading.errors import ExtraMissing, RemoteError


def test_every_error_has_an_exit_code():
    for leaf in errors.leaves():
        assert exit_codes.exit_code(leaf("somewhere")) in (1, 2, 3, 4, 5), leaf


def test_no_entry_of_the_table_repeats_that_of_a_base_class():
    for kind, code in exit_codes.EXIT.items():
        inherited = [exit_codes.EXIT[base] for base in kind.__mro__[1:] if base in exit_codes.EXIT]
        assert [code] != inherited[:1], f"{kind.__name__} repeats its base class"


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
        ("OutputInUse", 4),
        ("CatalogTooNew", 1),
        ("QueueFull", 4),
    ],
)
def test_an_error_has_the_exit_code_of_its_class(kind, code):
    assert exit_codes.exit_code(getattr(errors, kind)("somewhere")) == code


@pytest.mark.parametrize(("status", "code"), [(400, 1), (404, 3), (413, 1), (429, 4), (500, 1), (504, 4)])
def test_the_exit_code_of_a_server_answer_depends_on_its_status(status, code):
    assert exit_codes.exit_code(RemoteError("somewhere", status=status)) == code


def test_an_error_prints_one_sentence_and_a_hint_to_stderr(capsys):
    error = ExtraMissing("here", expected="a thing", found="none", hint="pip install it")
    assert exit_codes.report(error, debug=False) == 2
    output = capsys.readouterr()
    assert (output.out, output.err) == (
        "",
        "error: here: expected a thing, found none\nhint: pip install it\n",
    )


def test_an_internal_error_says_how_to_see_the_traceback(capsys):
    assert exit_codes.report(KeyError("x"), debug=False) == 70
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 2
    assert "LADING_DEBUG=1" in stderr
    assert "Traceback" not in stderr


def test_with_lading_debug_the_traceback_is_shown(lading, monkeypatch):
    monkeypatch.setenv("LADING_DEBUG", "1")
    code, _, stderr = lading("show", "iris")
    assert code == 3
    assert "Traceback" in stderr
    assert stderr.splitlines()[-1].startswith(("error: ", "hint: "))


def test_an_interrupt_ends_with_130():
    assert exit_codes.report(KeyboardInterrupt(), debug=False) == 130
    assert exit_codes.report(click.Abort(), debug=False) == 130


def test_an_unreadable_file_is_reported_with_its_path(capsys):
    error = PermissionError(13, "Permission denied", "/some/where")
    assert exit_codes.report(error, debug=False) == 4
    assert capsys.readouterr().err == "error: `/some/where`: permission denied\n"


def test_terminal_escapes_in_messages_are_not_sent_to_the_terminal(capsys):
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
        (
            ["serve", "--port", "-1"],
            "invalid value for `--port`: expected 0 to 65535, found `-1`",
            "see `lading serve --help`",
        ),
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
        (
            ["serve", "--port", "65536"],
            "invalid value for `--port`: expected 0 to 65535, found `65536`",
            "see",
        ),
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
def test_a_usage_error_ends_with_2_and_a_hint(lading, arguments, sentence, hint):
    code, stdout, stderr = lading(*arguments)
    assert code == 2, stderr
    assert stdout == ""
    first, _, rest = stderr.partition("\n")
    assert first.startswith("error: ")
    assert sentence in first
    assert hint in rest
