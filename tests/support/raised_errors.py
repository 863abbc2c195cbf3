"""The wordings of the errors that lading raises, read from its source: what a translation has to know.

Of a part that a function computes, the texts are those that it assigns to the name; a part that only another
library can say, such as the message of an exception, has none here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import lading
from lading import errors

SOURCE = Path(lading.__file__).parent
PARTS = ("where", "expected", "found", "hint")
_CLASSES = {name for name, value in vars(errors).items() if isinstance(value, type)} | {"Reason"}
_VALUE, _QUOTED = "7", "x1"
_MOST = 24


class Wording(NamedTuple):
    """A part of an error as it may read, its values filled in, and where it is raised."""

    part: str
    text: str
    place: str


def wordings(files: Sequence[Path]) -> Iterator[Wording]:
    """Iterate over all parts of all errors that some files raise."""
    for file in files:
        tree = ast.parse(file.read_text("utf-8"))
        constants = _assigned(tree.body)
        functions = [
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        inside: set[ast.Call] = set()
        # Inner functions come after outer ones: their own names count.
        for function in reversed(functions):
            names = {**constants, **_assigned(list(ast.walk(function)))}
            for call in _calls(function):
                if call not in inside:
                    inside.add(call)
                    yield from _wordings(call, names, file)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in _CLASSES:
            yield call


def _wordings(call: ast.Call, names: dict[str, list[ast.expr]], file: Path) -> Iterator[Wording]:
    place = f"{file.relative_to(SOURCE)}:{call.lineno}"
    values = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg in PARTS}
    assert isinstance(call.func, ast.Name)
    # What an installer has found becomes the end of an error.
    of_arguments = PARTS[1:] if call.func.id == "Reason" else PARTS[:1]
    values.update(zip(of_arguments, call.args, strict=False))
    for part, value in values.items():
        for text in _texts(value, names, 3):
            yield Wording(part or "", text, place)


def _assigned(nodes: Sequence[ast.AST]) -> dict[str, list[ast.expr]]:
    """Return the values that names are assigned, several at once by their places."""
    assigned: dict[str, list[ast.expr]] = {}
    for node in nodes:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        for target in targets:
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            for name, value in _pairs(target, node.value):
                assigned.setdefault(name, []).append(value)
    return assigned


def _pairs(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name) and value is not None:
        yield target.id, value
    elif isinstance(value, ast.IfExp):
        yield from _pairs(target, value.body)
        yield from _pairs(target, value.orelse)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for each, part in zip(target.elts, value.elts, strict=False):
            yield from _pairs(each, part)


def _texts(value: ast.expr | None, names: dict[str, list[ast.expr]], depth: int) -> list[str]:
    """Return the texts that an expression may have, none if only running it would say."""
    if depth < 0 or value is None:
        return []
    if isinstance(value, ast.Constant):
        return [value.value] if isinstance(value.value, str) and value.value else []
    if isinstance(value, ast.Name):
        others = {name: values for name, values in names.items() if name != value.id}
        return [text for each in names.get(value.id, ()) for text in _texts(each, others, depth - 1)]
    if isinstance(value, ast.IfExp):
        return [*_texts(value.body, names, depth), *_texts(value.orelse, names, depth)]
    if isinstance(value, ast.BoolOp):
        return [text for each in value.values for text in _texts(each, names, depth)]
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        ends = _texts(value.right, names, depth)
        # Without its end, which only running it would say, it is no text that anybody reads.
        return [first + end for first in _texts(value.left, names, depth) for end in ends][:_MOST]
    if isinstance(value, ast.JoinedStr):
        return _joined(value, names, depth)
    return []


def _joined(value: ast.JoinedStr, names: dict[str, list[ast.expr]], depth: int) -> list[str]:
    texts = [""]
    for piece in value.values:
        if isinstance(piece, ast.Constant):
            texts = [text + str(piece.value) for text in texts]
            continue
        assert isinstance(piece, ast.FormattedValue)
        # What is computed from a text is a value; a name may hold words of ours.
        known = _texts(piece.value, names, depth - 1) if isinstance(piece.value, ast.Name | ast.IfExp) else []
        texts = [text + more for text in texts for more in known or [_filled(text)]][:_MOST]
    return texts


def _filled(before: str) -> str:
    return _QUOTED if before.count("`") % 2 else _VALUE
