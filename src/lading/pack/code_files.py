"""The code of a class or function as modules of a bundle: its own, and those of this project that it imports.

A module of a file is taken whole, byte for byte. What was defined in a script or notebook is taken alone,
with the imports, functions and constants that it uses: to import a training script would be to train again.
Runs none of it, and takes nothing from installed packages, which the lock of the environment names.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import linecache
import symtable
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from lading.bundle.formats.v2 import BUILT_IN, CODE, is_module
from lading.errors import ConverterFailed

_MAIN = "__main__"
_MAIN_MODULE = "model"
_LITERALS = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class Code:
    """Modules by their names in the bundle (``code/churn.py``), and the entry in them (``churn:Churn``)."""

    entry: str
    modules: dict[str, bytes]


def code_of(thing: Any, more: Mapping[str, Path] | None = None) -> Code:
    """Return the code of a class or function; `more` are files of further modules, by module name.

    Raises `ConverterFailed` for what is not in a module's file: a lambda, a class made in a function, a
    module of a package.
    """
    name = thing.__qualname__
    if "<" in name:
        raise _refused(thing, "a class or function at the top of a module", f"`{name}`")
    modules: dict[str, bytes] = {}
    # Those that are stated come first: the module itself may import one that cannot be found from here.
    for module, path in (more or {}).items():
        _add_file(modules, module, path)
    if thing.__module__ == _MAIN:
        module = _name_of_main()
        source = "\n\n\n".join(_Slice(vars(sys.modules[_MAIN])).statements(thing))
        _add(modules, module, f"{source}\n".encode())
    else:
        module = thing.__module__
        if "." in module:
            raise _refused(
                thing,
                "a module of its own, such as `churn.py`",
                f"`{module}`, which is in a package",
                "move the class to a module, and install the package from a wheel if it needs it",
            )
        file = getattr(sys.modules[module], "__file__", None)
        if file is None:
            raise _refused(thing, "a module with a file", f"`{module}`")
        _add_file(modules, module, Path(file))
    return Code(f"{module}:{name}", dict(sorted(modules.items())))


def imports_of(files: Mapping[str, bytes | Path]) -> frozenset[str]:
    """Return the top-level names of all that the modules among `files` of a bundle import."""
    sources = (content for name, content in files.items() if name.startswith(f"{CODE}/"))
    return frozenset(
        name
        for source in sources
        for name in _imports(source if isinstance(source, bytes) else source.read_bytes(), "code")
    )


def code_of_type(name: str, more: Mapping[str, Path] | None = None) -> dict[str, bytes]:
    """Return the modules of the type ``module.name``, none if an installed package or Python brings it.

    Raises `ConverterFailed` for a type of the running script: no other process finds it there.
    """
    module = name.rpartition(".")[0]
    if module == _MAIN:
        raise ConverterFailed(
            f"`{name}`",
            expected="a type in a module of its own",
            found="one that is defined in the running script or notebook",
            hint="put it into a module, such as `steps.py`, import it from there, and fit again",
        )
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or _own_file(top, module) is None:
        return {}
    # Of a class within a class, the module is what comes before both.
    while module not in sys.modules and "." in module:
        module = module.rpartition(".")[0]
    attribute = name.removeprefix(f"{module}.")
    return code_of(attrgetter(attribute)(sys.modules[module]), more).modules


def code_of_class(kind: type, more: Mapping[str, Path] | None = None) -> Code | None:
    """Return the code of the class of an object, None if an installed package brings it; as `code_of`."""
    # A file names the class of what it holds by its own name, and not by what the class is in.
    if "." in kind.__qualname__:
        raise _refused(kind, "a class at the top of a module", f"`{kind.__qualname__}`")
    module = kind.__module__
    top = module.partition(".")[0]
    if module != _MAIN and (top in sys.stdlib_module_names or _own_file(top, module) is None):
        return None
    return code_of(kind, more)


def _add_file(modules: dict[str, bytes], module: str, path: Path) -> None:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConverterFailed(f"module `{module}`", expected="a readable file", found=str(error)) from None
    _add(modules, module, source)


def _add(modules: dict[str, bytes], module: str, source: bytes) -> None:
    """Add a module and the modules of this project that it imports."""
    name = f"{CODE}/{module}.py"
    if name in modules:
        return
    if module == BUILT_IN or not is_module(f"{module}.py"):
        raise ConverterFailed("a module", expected="a name of the project's own", found=f"`{module}`")
    modules[name] = source
    for imported in _imports(source, module):
        path = _own_file(imported, module)
        if path is not None:
            _add_file(modules, imported, path)


def _imports(source: bytes, module: str) -> Iterator[str]:
    """Return the top-level names of what a module imports, anywhere in it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise ConverterFailed(f"module `{module}`", expected="Python", found=str(error)) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ConverterFailed(
                    f"module `{module}` line {node.lineno}",
                    expected="imports by name",
                    found="a relative import",
                    hint="a bundle holds modules and no packages: import the module by its name",
                )
            yield (node.module or "").partition(".")[0]


def _own_file(imported: str, importer: str) -> Path | None:
    """Return the file of a module of this project, or None if Python or a package brings it."""
    if imported == BUILT_IN or imported in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(imported)
    except (ImportError, ValueError):
        return None  # An import that may fail; whether it matters is seen when the model runs.
    if spec is None or spec.origin is None or _is_installed(Path(spec.origin)):
        return None
    if spec.submodule_search_locations is not None:
        raise ConverterFailed(
            f"module `{importer}`",
            expected="imports of modules, or of installed packages",
            found=f"the package `{imported}` in `{Path(spec.origin).parent.name}/`",
            hint=f"build a wheel of `{imported}` and install it, or import from modules beside the model",
        )
    return Path(spec.origin)


def _is_installed(path: Path) -> bool:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    # An extension module is compiled for one machine, and comes in a wheel.
    installed = path.suffix != ".py" or any(path.is_relative_to(folder) for folder in folders)
    return installed or any(part in ("site-packages", "dist-packages") for part in path.parts)


def _name_of_main() -> str:
    """Return the name that a module of the running script gets; a notebook has no file."""
    file = getattr(sys.modules[_MAIN], "__file__", None)
    name = Path(file).stem if file else _MAIN_MODULE
    return name if name.isidentifier() and name not in sys.stdlib_module_names else _MAIN_MODULE


@dataclass
class _Slice:
    """The statements that a definition of a script or notebook needs; ``values`` are the script's globals."""

    values: Mapping[str, Any]
    imports: dict[str, None] = field(default_factory=dict)
    constants: dict[str, None] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)

    def statements(self, thing: Any) -> list[str]:
        """Return imports, constants and definitions, each name before it is used."""
        self._define(thing.__qualname__.partition(".")[0], thing)
        blocks = ["\n".join(sorted(self.imports)), "\n".join(self.constants), *self.definitions.values()]
        return [block for block in blocks if block]

    def _define(self, name: str, thing: Any) -> None:
        if name in self.definitions:
            return
        source = _source(thing, name)
        self.definitions[name] = ""  # It may use itself.
        for used in _names(source):
            self._need(used, name)
        # What it needs was added meanwhile and comes before it.
        del self.definitions[name]
        self.definitions[name] = source

    def _need(self, name: str, user: str) -> None:
        if name not in self.values:
            return  # A builtin, a local name, or an attribute.
        value = self.values[name]
        if isinstance(value, ModuleType):
            same = value.__name__ == name
            self.imports[f"import {name}" if same else f"import {value.__name__} as {name}"] = None
        elif getattr(value, "__module__", None) == _MAIN and hasattr(value, "__qualname__"):
            self._define(name, value)
        elif _is_importable(value):
            source = f"from {value.__module__} import {value.__qualname__}"
            self.imports[source if value.__qualname__ == name else f"{source} as {name}"] = None
        elif _is_literal(value):
            self.constants[f"{name} = {value!r}"] = None
        else:
            raise ConverterFailed(
                f"`{user}`",
                expected="to use modules, functions, classes and plain constants of the script",
                found=f"`{name}`, a `{type(value).__qualname__}`",
                hint=f"save `{name}` to a file, pass it in `files`, and load it in `load`",
            )


def _source(thing: Any, name: str) -> str:
    """Return the source of a definition at the top of a script or of a cell of a notebook."""
    for file in _places(thing):
        # Not `inspect.getsource`, which looks classes up by the file of their module: a notebook has none.
        lines = linecache.getlines(file)
        try:
            tree = ast.parse("".join(lines))
        except SyntaxError:
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                return "".join(lines[first - 1 : node.end_lineno]).rstrip()
    raise ConverterFailed(
        f"`{name}`",
        expected="a definition with its source",
        found="none: it was typed in or made while running",
        hint="put it into a module, such as `model.py`, and import it from there",
    )


def _places(thing: Any) -> Iterator[str]:
    """Return the files, or cells of a notebook, in which a definition may be: the likeliest first."""
    code = _code_object(thing)
    if code is not None:
        yield code.co_filename
        return
    # A class without a function of its own does not say where it is; the newest cell of a notebook counts.
    file = getattr(sys.modules[_MAIN], "__file__", None)
    yield from [file] if file else [*linecache.cache][::-1]


def _code_object(thing: Any) -> CodeType | None:
    if inspect.isclass(thing):
        functions = (value for value in vars(thing).values() if inspect.isfunction(value))
        return next((function.__code__ for function in functions), None)
    function = inspect.unwrap(thing)
    return function.__code__ if inspect.isfunction(function) else None


def _names(source: str) -> Iterator[str]:
    """Return each name that a definition reads from its module, but for builtins."""
    # A parameter `X` is not the `X` of the script, in which a notebook has its samples.
    of_module = _names_of_module(symtable.symtable(source, "<definition>", "exec"))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in of_module and not hasattr(builtins, node.id):
            yield node.id


def _names_of_module(scope: symtable.SymbolTable) -> set[str]:
    at_top = scope.get_type() == "module"
    symbols = (symbol for symbol in scope.get_symbols() if symbol.is_referenced())
    names = {symbol.get_name() for symbol in symbols if at_top or symbol.is_global()}
    return names.union(*map(_names_of_module, scope.get_children()))


def _is_importable(value: Any) -> bool:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not isinstance(module, str) or not name.isidentifier():
        return False
    return getattr(sys.modules.get(module), name, None) is value


def _is_literal(value: Any) -> bool:
    if isinstance(value, _LITERALS):
        return value == value and value not in (float("inf"), float("-inf"))  # noqa: PLR0124 - NaN has no literal
    if isinstance(value, list | tuple | set | frozenset) and type(value) in (list, tuple, set):
        return all(map(_is_literal, value)) and bool(value or type(value) is not set)
    return type(value) is dict and all(map(_is_literal, (*value, *value.values())))


def _refused(thing: Any, expected: str, found: str, hint: str | None = None) -> ConverterFailed:
    hint = hint or "put it into a module, such as `model.py`, and import it from there"
    return ConverterFailed(f"`{thing.__qualname__}`", expected=expected, found=found, hint=hint)
