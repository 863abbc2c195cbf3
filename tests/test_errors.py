from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

from lading import errors
from lading.errors import LadingError, MethodRefused, QueueFull, RemoteError, ValueRefused, leaves

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, LadingError) and kind.__module__ == errors.__name__
]


def drawn():
    """Read the tree out of the docstring: (depth, name) line by line."""
    lines = re.findall(r"^ {4}([│├└─ ]*)([A-Z]\w+)", errors.__doc__, re.MULTILINE)
    return [(len(lines_before) // 4, name) for lines_before, name in lines]


def test_the_drawn_tree_is_the_tree():
    parents, found = {}, {}
    for depth, name in drawn():
        parents[depth] = name
        found[name] = parents[depth - 1] if depth else "Exception"
    assert found == {kind.__name__: kind.__base__.__name__ for kind in CLASSES}


def test_the_tree_is_drawn_in_the_order_in_which_it_is_written():
    written = sorted(CLASSES, key=lambda kind: inspect.getsourcelines(kind)[1])
    assert [name for _, name in drawn()] == [kind.__name__ for kind in written]


def test_leaves_are_the_classes_without_subclasses():
    assert sorted(kind.__name__ for kind in leaves()) == sorted(
        kind.__name__ for kind in CLASSES if not kind.__subclasses__()
    )
    assert len(leaves()) == len(set(leaves()))


def test_every_error_says_what_it_is():
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


# Callers may pack in a process pool, and Python makes an error again from its sentence and its fields.
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy])
def test_an_error_survives_pickling_and_copying(kind, copied):
    error = kind("here", expected="a", found="b", hint="c")
    again = copied(error)
    assert type(again) is kind
    assert (again.where, again.expected, again.found, again.hint) == ("here", "a", "b", "c")
    assert str(again) == str(error)
    assert again.args == error.args


def test_what_an_error_carries_besides_survives_too():
    for kind, name, value in (
        (MethodRefused, "allowed", ("GET",)),
        (QueueFull, "retry_after_s", 7),
        (RemoteError, "status", 503),
    ):
        error = kind("here")
        setattr(error, name, value)
        assert getattr(pickle.loads(pickle.dumps(error)), name) == value


def test_an_extra_that_is_missing_is_named_with_the_command_that_installs_it():
    gone = ModuleNotFoundError("No module named 'yaml'", name="yaml")
    error = errors.missing_extra("`lading deploy`", "kubernetes", gone, instead="take `--json`")
    assert error.message == "`lading deploy`: expected the extra `kubernetes`, found no module `yaml`"
    assert error.hint == "`pip install 'lading[kubernetes]'`, or take `--json`"
    broken = ImportError("libx.so: cannot open shared object file")
    assert errors.missing_extra("here", "s3", broken).found == str(broken)


def test_hints_to_install_an_extra_are_written_in_one_place():
    source = Path(errors.__file__).parent
    # The client of a cluster has its own sentence still.
    files = [path for path in source.rglob("*.py") if "pip install 'lading[" in path.read_text()]
    assert {path.relative_to(source).as_posix() for path in files} - {"deploy/cluster.py"} == {"errors.py"}


@pytest.mark.parametrize(
    ("sentence", "continued"),
    [
        ("Expected `int`", "expected `int`"),
        ("JSON is malformed", "JSON is malformed"),
        ("I/O error", "I/O error"),
        ("", ""),
    ],
)
def test_a_sentence_of_another_library_goes_on_with_ours(sentence, continued):
    assert errors.continued(sentence) == continued


def test_an_error_can_be_raised_with_a_cause_and_caught_by_its_branch():
    with pytest.raises(errors.InputError) as caught:
        raise ValueRefused("here") from KeyError("x")
    assert isinstance(caught.value.__cause__, KeyError)
