"""Measure the structure of the code against its limits: layers, cycles, sizes, comments and tests.

Prints one table and exits 1 if a measure misses its limit. ``--layers`` lists each module with its layer and
its importers, ``--by-part`` prints the numbers of each part, ``--details`` names every place that counts.
It reads files only: nothing of lading is imported.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from import_graph import ROOT, Import, Module, cycles, read_contracts, read_graph, read_package

LONGEST_FUNCTION = 60
DIRECTIVE = re.compile(r"#\s*(type: ignore|noqa|pragma|!)[^ ]*( [A-Z]+\d+,?)*\s*$")


def count_comments(text: str) -> int:
    """Return the number of lines with a comment; directives to linters and mypy do not count."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string) for token in tokens)


def count_lines(text: str) -> int:
    """Return the number of lines that are not blank."""
    return sum(bool(line.strip()) for line in text.splitlines())


@dataclass(frozen=True)
class TestFile:
    """One Python file below tests/."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """Return the part of lading that it tests, as `Module.part` names it."""
        folders = self.path.relative_to(ROOT / "tests").parts
        if len(folders) == 1:
            return folders[0].removeprefix("test_").removesuffix(".py")
        return "/".join(folders[:2]) if folders[0] == "server" and len(folders) > 2 else folders[0]

    def count_tests(self) -> int:
        """Return the number of test functions; parametrisations of one function count once."""
        functions = [
            node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        return sum(function.name.startswith("test_") for function in functions)

    def private_reaches(self) -> list[int]:
        """Return the lines that use a private name of something else, by `x._y`, import or `setattr`."""
        return sorted(node.lineno for node in ast.walk(self.tree) if _is_private_reach(node))

    def sleeps(self) -> list[int]:
        """Return the lines that sleep, those of programs in strings included."""
        return sorted(line for node in ast.walk(self.tree) for line in _sleeps(node))


def _is_private(name: str) -> bool:
    # Private in spelling only: `os._exit`, the methods of named tuples and IPython's protocol are documented.
    return re.match(r"_[a-zA-Z]", name) is not None and name not in (
        "_asdict",
        "_exit",
        "_fields",
        "_replace",
        "_repr_html_",
    )


def _is_private_reach(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return _is_private(node.attr) and not _is_own(node.value)
    if isinstance(node, ast.ImportFrom):
        return str(node.module).startswith("lading") and any(_is_private(alias.name) for alias in node.names)
    if isinstance(node, ast.Call) and _called(node) in ("setattr", "getattr", "delattr"):
        values = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        return any(isinstance(value, str) and _is_private(value.rpartition(".")[2]) for value in values)
    return False


def _is_own(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return _called(node) == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _sleeps(node: ast.AST) -> Iterator[int]:
    if isinstance(node, ast.Call) and _called(node) == "sleep":
        yield node.lineno
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        lines = enumerate(node.value.splitlines())
        yield from (node.lineno + offset for offset, line in lines if "sleep(" in line)


def read_tests(folder: Path = ROOT / "tests") -> list[TestFile]:
    """Read every Python file of the tests."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}
    return [TestFile(path, text, ast.parse(text)) for path, text in texts.items()]


@dataclass(frozen=True)
class Measure:
    """One measure: its value, its limit, and the places that count."""

    name: str
    value: float
    limit: float
    at_least: bool = False
    places: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Return whether the value is within its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> str:
        """Return the measure as a row of the table."""
        sign, verdict = "≥" if self.at_least else "≤", "ok" if self.holds else "MISSED"
        return f"{self.name:62} {self.value:8.4g}   {sign} {self.limit:<6g} {verdict}"


class House:
    """Everything that is measured, read once."""

    def __init__(self) -> None:
        self.modules = read_package()
        self.graph = read_graph(self.modules)
        self.contracts = read_contracts()
        self.tests = read_tests()

    def parts(self) -> list[str]:
        """Return the parts of lading and the further folders of tests."""
        return sorted({file.part for file in (*self.modules.values(), *self.tests)})

    def measure_structure(self) -> list[Measure]:
        """Return the measures of the whole: arrows and cycles."""
        edges = self.graph.edges
        upward = [str(edge) for edge in self.graph.imports if self._breaks_a_layer(edge)]
        package, *_ = self.contracts
        unplaced = [name for name in self.modules if name != "lading" and package.find(name) is None]
        needless = [str(edge) for edge, libraries in self.lazy_imports() if not libraries]
        below_cli = {
            name: names for name, names in edges(lazy=True).items() if not name.startswith("lading.cli")
        }
        return [
            _count("imports that point up or sideways", upward),
            _count("modules without a layer", unplaced),
            _count("import cycles", _show(cycles(edges()))),
            _count("import cycles, with imports for types only", _show(cycles(edges(typing_only=True)))),
            _count("import cycles, with lazy imports below the command line", _show(cycles(below_cli))),
            _count("lazy imports below the command line that keep no library out", needless),
        ]

    def _breaks_a_layer(self, edge: Import) -> bool:
        return edge.importer != "lading" and any(layers.breaks(edge) for layers in self.contracts)

    def lazy_imports(self) -> list[tuple[Import, set[str]]]:
        """Return the lazy imports between modules below the command line, and the libraries they defer."""
        load = self.graph.loaded_libraries
        return [
            (edge, load(edge.imported) - load(edge.importer))
            for edge in self.graph.imports
            if edge.lazy and not re.match(r"lading(\.cli\b.*|\.__main__)?$", edge.importer)
        ]

    def measure_sizes(self, part: str | None = None) -> list[Measure]:
        """Return the measures that add up over files: of one part, or of everything."""
        modules = [module for module in self.modules.values() if part in (None, module.part)]
        tests = [file for file in self.tests if part in (None, file.part)]
        tested = [module for module in modules if module.has_behaviour() and module.name != "lading.__main__"]
        comments = sum(count_comments(module.text) for module in modules)
        lines = sum(count_lines(module.text) for module in modules)
        count = sum(file.count_tests() for file in tests)
        long = [place for module in modules for place in _long_functions(module)]
        reaches = [_place(file.path, line) for file in tests for line in file.private_reaches()]
        sleeps = [_place(file.path, line) for file in tests for line in file.sleeps()]
        missing = [place for module in tested for place in _missing_tests(module)]
        own_test = _per_cent(len(tested) - len(missing), len(tested), empty=100)
        return [
            _count(f"functions over {LONGEST_FUNCTION} lines", long),
            Measure("comments per 100 lines of src", _per_cent(comments, lines), 4, at_least=True),
            Measure(
                "private names used by tests, per 100 tests",
                _per_cent(len(reaches), count),
                1,
                places=reaches,
            ),
            Measure("sleeps in tests, per 100 tests", _per_cent(len(sleeps), count), 1.5, places=sleeps),
            Measure("modules with a test of their own name, %", own_test, 80, at_least=True, places=missing),
        ]


def _count(name: str, places: list[str]) -> Measure:
    return Measure(name, len(places), 0, places=places)


def _per_cent(count: int, of: int, empty: float = 0) -> float:
    return round(100 * count / of, 2) if of else empty


def _show(components: list[list[str]]) -> list[str]:
    return [" <-> ".join(component) for component in components]


def _place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def _long_functions(module: Module) -> Iterator[str]:
    for function in module.functions:
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > LONGEST_FUNCTION:
            yield f"{_place(module.path, function.lineno)} {function.name}: {length} lines"


def _missing_tests(module: Module) -> Iterator[str]:
    if not any((ROOT / "tests" / name).exists() for name in module.test_files()):
        yield f"{module.path.relative_to(ROOT)}: expected tests/{module.test_files()[0]}"


def print_layers(house: House) -> None:
    """Print each module with its layer, the top one first, and the modules that import it."""
    importers = defaultdict(set)
    for edge in house.graph.imports:
        importers[edge.imported].add(edge.importer.removeprefix("lading."))
    rows = []
    for name in house.modules:
        positions = [position for layers in house.contracts if (position := layers.find(name))]
        rows.append((tuple(-layer for layer, _ in positions), name))
    print(f"{'layer':7} {'module':45} imported by")
    for order, name in sorted(rows):
        layer = ".".join(str(-number) for number in order) or "-"
        print(f"{layer:7} {name.removeprefix('lading.'):45} {' '.join(sorted(importers[name])) or '-'}")
    print("\nlazy imports below the command line, and the libraries that each keeps out")
    for edge, libraries in house.lazy_imports():
        print(f"{edge}: {' '.join(sorted(libraries)) or 'none'}")
    print()


def print_parts(house: House) -> None:
    """Print the measures that add up, part by part."""
    print(f"{'':20} {'functions':>10} {'comments':>10} {'private':>10} {'sleeps':>10} {'own test':>10}")
    print(f"{'part':20} {'over 60':>10} {'per 100':>10} {'names':>10} {'':>10} {'%':>10}")
    for part in house.parts():
        long, comments, reaches, sleeps, tested = house.measure_sizes(part)
        counts = f"{long.value:10g} {comments.value:10.1f} {len(reaches.places):10} {len(sleeps.places):10}"
        print(f"{part:20} {counts} {tested.value:10.0f}")
    print()


def main() -> int:
    """Print the table, after the lists that were asked for; return 1 if a measure misses its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", action="store_true", help="list each module with its layer and importers")
    parser.add_argument("--by-part", action="store_true", help="print the numbers of each part")
    details = "name each place that counts, or only those with TEXT in them"
    parser.add_argument("--details", nargs="?", const="", metavar="TEXT", help=details)
    options = parser.parse_args()
    house = House()
    if options.layers:
        print_layers(house)
    if options.by_part:
        print_parts(house)
    measures = [*house.measure_structure(), *house.measure_sizes()]
    for measure in measures:
        print(measure.row())
        if options.details is not None:
            print(*(f"    {place}\n" for place in measure.places if options.details in place), sep="", end="")
    return 0 if all(measure.holds for measure in measures) else 1


if __name__ == "__main__":
    sys.exit(main())
