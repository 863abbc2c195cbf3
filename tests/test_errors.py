from __future__ import annotations

import copy
import inspect
import pickle
import re
import tomllib
from pathlib import Path

import pytest

from lading import errors
from lading.errors import (
    LadingError,
    MethodRefused,
    ModelNotFound,
    QueueFull,
    RemoteError,
    ValueRefused,
    leaves,
)

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, LadingError) and kind.__module__ == errors.__name__
]


def drawn():
    """Read the tree out of the docstring: (depth, name) line by line."""
    lines = re.findall(r"^ {4}([│├└─ ]*)([A-Z]\w+)", errors.__doc__, re.MULTILINE)
    return [(len(branches) // 4, name) for branches, name in lines]


def test_the_drawn_tree_is_the_tree():
    path, parents = {}, {}
    for depth, name in drawn():
        path[depth] = name
        parents[name] = path[depth - 1] if depth else "Exception"
    assert parents == {kind.__name__: kind.__base__.__name__ for kind in CLASSES}


@pytest.mark.slow
def test_the_tree_is_drawn_in_the_order_in_which_it_is_written():
    written = sorted(CLASSES, key=lambda kind: inspect.getsourcelines(kind)[1])
    assert [name for _, name in drawn()] == [kind.__name__ for kind in written]


def test_leaves_are_the_classes_without_subclasses():
    assert sorted(kind.__name__ for kind in leaves()) == sorted(
        kind.__name__ for kind in CLASSES if not kind.__subclasses__()
    )
    assert len(leaves()) == len(set(leaves()))


def test_every_error_has_a_docstring_that_is_a_sentence():
    assert [
        kind.__name__ for kind in CLASSES if not kind.__doc__ or not kind.__doc__.strip().endswith(".")
    ] == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "here"),
        ({"expected": "a"}, "here: expected a"),
        ({"found": "b"}, "here: found b"),
        ({"expected": "a", "found": "b"}, "here: expected a, found b"),
    ],
)
def test_a_message_is_where_expected_found(fields, message):
    assert str(LadingError("here", **fields)) == message
    hinted = LadingError("here", **fields, hint="do this")
    assert hinted.message == message
    assert str(hinted) == f"{message}\nhint: do this"


# Callers may pack in a process pool; unpickling calls the class with `args` and then sets its attributes.
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy]
)
def test_an_error_survives_pickling_and_copying(kind, copied):
    error = kind("here", expected="a", found="b", hint="c")
    again = copied(error)
    assert type(again) is kind
    assert (again.where, again.expected, again.found, again.hint) == ("here", "a", "b", "c")
    assert str(again) == str(error)
    assert again.args == error.args


OWN_FIELDS = [
    (ModelNotFound, {"model": "iris"}),
    (MethodRefused, {"allowed": ("GET",)}),
    (QueueFull, {"retry_after_s": 7}),
    (RemoteError, {"status": 503, "code": "ModelNotReady"}),
    (ValueRefused, {"path": "$.data[3]"}),
]


@pytest.mark.parametrize(("kind", "own"), OWN_FIELDS, ids=lambda value: getattr(value, "__name__", None))
def test_the_fields_of_an_error_survive_pickling_and_another_hint(kind, own):
    error = kind("here", expected="a", found="b", **own)
    for again in (pickle.loads(pickle.dumps(error)), error.with_hint("do this")):
        assert {name: getattr(again, name) for name in own} == own
        assert again.message == error.message
    assert error.with_hint("do this").hint == "do this"
    assert error.hint is None


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_fields_of_an_error_are_the_arguments_of_its_constructor(kind):
    error = kind("here", found="b")
    assert vars(kind(**vars(error))) == vars(error)
    # A field with a default in the class could be set without the constructor.
    assert [
        name for name, value in vars(kind).items() if not name.startswith("_") and not callable(value)
    ] == (["message"] if kind is LadingError else [])


def test_the_path_of_a_value_stands_behind_what_was_found():
    error = ValueRefused("input `x`", expected="`int64 [batch]`", found="a string", path="$.data[3]")
    assert error.message == "input `x`: expected `int64 [batch]`, found a string at `$.data[3]`"
    assert (error.found, error.path) == ("a string", "$.data[3]")


def test_the_nearest_class_of_an_error_counts_in_a_table():
    table = {errors.LadingError: 1, errors.NotFound: 2, ModelNotFound: 3}
    assert errors.nearest(table, ModelNotFound("here")) == 3
    assert errors.nearest(table, errors.TagNotFound("here")) == 2
    assert errors.nearest(table, ValueRefused("here")) == 1
    with pytest.raises(LookupError, match="ValueRefused"):
        errors.nearest({errors.NotFound: 2}, ValueRefused("here"))


def test_a_missing_extra_is_named_with_the_command_that_installs_it():
    absent = ModuleNotFoundError("No module named 'yaml'", name="yaml")
    error = errors.missing_extra("`lading deploy`", "kubernetes", absent, instead="take `--json`")
    assert error.message == "`lading deploy`: expected the extra `kubernetes`, found no module `yaml`"
    assert error.hint == "`pip install 'lading-ml[kubernetes]'`, or take `--json`"
    broken = ImportError("libx.so: cannot open shared object file")
    assert errors.missing_extra("here", "s3", broken).found == str(broken)


def test_hints_to_install_an_extra_are_written_in_one_place():
    source = Path(errors.__file__).parent
    files = [path for path in source.rglob("*.py") if "pip install '" in path.read_text()]
    assert [path.relative_to(source).as_posix() for path in files] == ["errors.py"]


@pytest.mark.slow
def test_pip_is_never_asked_for_another_projects_lading():
    root = Path(errors.__file__).parents[2]
    places = [*(root / "src").rglob("*.py"), *root.glob("*.md"), *(root / "docs").rglob("*.md")]
    places += [root / "Dockerfile", *(root / "scripts").iterdir(), *(root / "requirements").rglob("*.txt")]
    wrong = re.compile(
        r"pip install (?:--\S+ )*'?lading(?!-ml|[\w-])|^lading==|\blading\[[a-z,]+\]", re.MULTILINE
    )
    texts = {path: path.read_text() for path in places if path.is_file()}
    hits = {str(path): wrong.findall(text) for path, text in texts.items() if wrong.search(text)}
    assert hits == {}
    name = tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"]
    assert name == errors.DISTRIBUTION


@pytest.mark.parametrize(
    ("sentence", "middle"),
    [
        ("Expected `int`", "expected `int`"),
        ("JSON is malformed", "JSON is malformed"),
        ("I/O error", "I/O error"),
        ("", ""),
    ],
)
def test_a_sentence_of_another_library_becomes_the_middle_of_ours(sentence, middle):
    assert errors.mid_sentence(sentence) == middle


def test_the_message_of_another_library_becomes_one_short_line():
    assert errors.one_line(ValueError("no\n  such   file")) == "no such file"
    assert errors.one_line(ValueError("refused\nStacktrace:\n0x1\n0x2")) == "refused"
    assert errors.one_line(ValueError("a" * 301)) == "a" * 300 + "…"


def test_an_error_can_be_raised_with_a_cause_and_caught_by_its_branch():
    with pytest.raises(errors.InputError) as caught:
        raise ValueRefused("here") from KeyError("x")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_message_quotes_at_most_200_characters():
    error = ValueRefused("input `x`", expected="`float32`", found=f"`{'a' * 150 + 'b' * 10**6 + 'end'}`")
    assert len(error.message) < 300
    assert error.message.startswith("input `x`: expected `float32`, found `aaa")
    assert error.message.endswith("bbbend`")


def test_a_message_has_an_end():
    assert len(LadingError(" ".join(["many"] * 10**6)).message) <= 4001


def test_a_path_of_200_characters_is_quoted_whole():
    path = f"`{'p' * 200}`"
    assert path in LadingError(path, expected="a file", found="none").message
