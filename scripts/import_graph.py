"""Read who imports whom in lading, from the source alone: modules, imports, cycles and layers.

Nothing of lading is imported, so a tree that cannot be imported is still measured.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Cheap to import, and loaded by every command: avoiding it is no reason for an import in a function. numpy is
# a reason: with it, `lading list` takes a quarter more CPU time.
LIGHT_LIBRARIES = {"msgspec"}


@dataclass(frozen=True)
class Import:
    """One import of one module by another."""

    importer: str
    imported: str
    line: int
    lazy: bool  # inside a function
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} -> {self.imported}"


@dataclass(frozen=True)
class Module:
    """One module of the package: its file, its syntax tree and the modules it imports."""

    name: str
    path: Path
    text: str
    tree: ast.Module
    is_package: bool

    @property
    def part(self) -> str:
        """Return the part it belongs to: `registry`, `errors`, and for the server its room, `server/http`."""
        names = self.name.split(".")[1:]
        depth = 2 if names[:1] == ["server"] and len(names) > 1 else 1
        return "/".join(names[:depth]) or "lading"

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Return every function of the module, methods and nested ones included."""
        return [
            node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def has_behaviour(self) -> bool:
        """Return whether it defines a function that does more than nothing, and so can have a test."""
        return any(not _is_stub(function) for function in self.functions)

    def test_files(self) -> list[str]:
        """Return the files in tests/ that would be this module's own test, best first."""
        names = self.name.split(".")[1:]
        if not self.is_package:
            path = "/".join((*names[:-1], f"test_{names[-1]}.py"))
            # A part that needs a framework with an environment of its own is tested there.
            return [path, f"engines/{path}"]
        return [
            "/".join((*names, file)) for file in (f"test_{self.name.rpartition('.')[2]}.py", "test_init.py")
        ]


def _is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    body = [node for node in function.body if not _is_docstring(node)]
    return all(isinstance(node, ast.Pass) for node in body) or not body


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def read_package(source: Path = ROOT / "src") -> dict[str, Module]:
    """Read every module of the package below `source`, by its dotted name."""
    modules = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, text, ast.parse(text), is_package)
    return modules


class ImportReader(ast.NodeVisitor):
    """Collects the imports of one module: modules of the package, and the libraries of others."""

    def __init__(self, module: Module, names: Iterable[str]) -> None:
        self.module, self.names = module, set(names)
        self.imports: list[Import] = []
        self.libraries: set[str] = set()  # imported at module level only
        self._lazy = self._typing_only = False

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Mark imports in a function as lazy."""
        before, self._lazy = self._lazy, True
        self.generic_visit(node)
        self._lazy = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name that NodeVisitor looks up

    def visit_If(self, node: ast.If) -> None:
        """Mark imports under ``if TYPE_CHECKING`` as never executed."""
        before = self._typing_only
        self._typing_only = before or (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
        self.generic_visit(node)
        self._typing_only = before

    def visit_Import(self, node: ast.Import) -> None:
        """Record ``import x.y``."""
        for alias in node.names:
            self._record(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Record ``from x import y``, where `y` may be a module itself."""
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            self._record(submodule if submodule in self.names else str(node.module), node.lineno)

    def _record(self, imported: str, line: int) -> None:
        if imported in self.names:
            self.imports.append(Import(self.module.name, imported, line, self._lazy, self._typing_only))
        elif not (self._lazy or self._typing_only):
            self.libraries.add(imported.partition(".")[0])


@dataclass
class Graph:
    """Who imports whom, and which libraries each module loads."""

    modules: dict[str, Module]
    imports: list[Import] = field(default_factory=list)
    libraries: dict[str, set[str]] = field(default_factory=dict)

    def edges(self, *, lazy: bool = False, typing_only: bool = False) -> dict[str, set[str]]:
        """Return the modules that each module imports; `lading` itself loads each name when it is used."""
        edges: dict[str, set[str]] = {name: set() for name in self.modules}
        for edge in self.imports:
            if edge.importer != "lading" and lazy >= edge.lazy and typing_only >= edge.typing_only:
                edges[edge.importer].add(edge.imported)
        return edges

    def loaded_libraries(self, name: str) -> set[str]:
        """Return the third-party libraries that importing a module loads, its packages' included."""
        edges, seen, waiting = self.edges(), set(), [name]
        while waiting:
            module = waiting.pop()
            if module in seen:
                continue
            seen.add(module)
            # Importing a.b.c runs a/__init__.py and a/b/__init__.py first.
            names = module.split(".")
            waiting += [".".join(names[:end]) for end in range(2, len(names))]
            waiting += edges[module]
        loaded = set().union(*(self.libraries[module] for module in seen))
        return loaded - set(sys.stdlib_module_names) - LIGHT_LIBRARIES - {"lading"}


def read_graph(modules: dict[str, Module]) -> Graph:
    """Read the imports of every module."""
    graph = Graph(modules)
    for name, module in modules.items():
        reader = ImportReader(module, modules)
        reader.visit(module.tree)
        graph.imports += [edge for edge in reader.imports if edge.imported != name]
        graph.libraries[name] = reader.libraries
    return graph


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def connect(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for imported in sorted(edges[name] & edges.keys()):
            if imported not in index:
                connect(imported)
                low[name] = min(low[name], low[imported])
            elif imported in stack:
                low[name] = min(low[name], index[imported])
        if low[name] == index[name]:
            start = stack.index(name)
            if len(stack) - start > 1:
                components.append(sorted(stack[start:]))
            del stack[start:]

    for name in edges:
        if name not in index:
            connect(name)
    return components


@dataclass(frozen=True)
class Layers:
    """One contract of import-linter: the names below a container, from the top layer to the bottom one."""

    container: str
    layers: tuple[tuple[str, ...], ...]

    def find(self, module: str) -> tuple[int, str] | None:
        """Return the layer of a module, counted from the bottom, and its name there; None if it has none."""
        if not module.startswith(f"{self.container}."):
            return None
        name = module.removeprefix(f"{self.container}.").partition(".")[0]
        for index, layer in enumerate(reversed(self.layers)):
            if name in layer:
                return index, name
        return None

    def breaks(self, edge: Import) -> bool:
        """Return whether an import points up, or sideways between siblings."""
        importer, imported = self.find(edge.importer), self.find(edge.imported)
        if importer is None or imported is None or importer[1] == imported[1]:
            return False
        return imported[0] >= importer[0]


def read_contracts(pyproject: Path = ROOT / "pyproject.toml") -> list[Layers]:
    """Read the layers of the package, and of the inside of the server, from the import contracts."""
    with pyproject.open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return [
        Layers(container, tuple(_siblings(layer) for layer in contract["layers"]))
        for contract in contracts
        if contract["type"] == "layers"
        for container in contract["containers"]
    ]


def _siblings(layer: str) -> tuple[str, ...]:
    return tuple(name.strip(" ()") for name in layer.split("|"))
