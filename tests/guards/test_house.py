"""The structure of the code is within its limits, and the script would see if it were not."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from support.scripts import load_script

ROOT = Path(__file__).parents[2]
HELD = [
    "imports that point up or sideways",
    "modules without a layer",
    "import cycles",
    "import cycles, with imports for types only",
    "import cycles, with lazy imports below the command line",
    "lazy imports below the command line that keep no library out",
    "functions over 60 lines",
    "comments per 100 lines of src",
    "private names used by tests, per 100 tests",
    "sleeps in tests, per 100 tests",
    "modules with a test of their own name, %",
]


# What is measured takes ten seconds in each worker.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("house")]

graph = load_script("import_graph")
house = load_script("house")


@pytest.fixture(scope="module")
def whole() -> house.House:
    return house.House()


@pytest.fixture(scope="module")
def measures(whole) -> dict[str, house.Measure]:
    return {measure.name: measure for measure in (*whole.measure_structure(), *whole.measure_sizes())}


@pytest.mark.parametrize("name", HELD)
def test_a_measure_is_within_its_limit(measures, name):
    measure = measures[name]
    assert measure.holds, "\n".join([measure.row(), *measure.places])


def test_every_measure_is_held(measures):
    assert [*measures] == HELD


@pytest.mark.slow
def test_the_script_prints_every_measure_and_fails_if_one_misses_its_limit(
    whole, measures, monkeypatch, capsys
):
    monkeypatch.setattr(house, "House", lambda: whole)
    monkeypatch.setattr(sys, "argv", ["house.py"])
    code = house.main()
    assert capsys.readouterr().out.splitlines() == [measure.row() for measure in measures.values()]
    assert code == (0 if all(measure.holds for measure in measures.values()) else 1)


def test_the_script_lists_every_module_with_its_layer_and_importers(whole, capsys):
    house.print_layers(whole)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    errors = next(row for row in rows if row[1:2] == ["errors"])
    assert errors[0] == "0"
    assert {"bundle.reader", "cli.ui.exit_codes"} <= set(errors[2:])
    assert {f"lading.{row[1]}" for row in rows if row[1:]} >= whole.modules.keys() - {"lading"}


def read(tmp_path: Path, **files: str) -> graph.Graph:
    """Write modules of a package `lading` and read who imports whom."""
    for name, text in {"__init__": "", **files}.items():
        path = tmp_path / "lading" / f"{name.replace('__of__', '/')}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return graph.read_graph(graph.read_package(tmp_path))


def test_a_cycle_of_imports_is_found_and_one_in_a_function_only_where_it_is_asked_for(tmp_path):
    files = {"a": "from lading import b", "b": "import lading.c", "c": "def use():\n    import lading.a"}
    read_files = read(tmp_path, **files)
    assert graph.cycles(read_files.edges()) == []
    assert graph.cycles(read_files.edges(lazy=True)) == [["lading.a", "lading.b", "lading.c"]]


def test_an_import_for_types_only_is_no_import_of_the_running_program(tmp_path):
    files = {"a": "from lading import b", "b": "if TYPE_CHECKING:\n    from lading import a"}
    read_files = read(tmp_path, **files)
    assert graph.cycles(read_files.edges()) == []
    assert graph.cycles(read_files.edges(typing_only=True)) == [["lading.a", "lading.b"]]


def test_an_import_in_a_function_keeps_out_what_it_alone_would_load(tmp_path):
    files = {"a": "import json\ndef use():\n    from lading import b", "b": "import sqlalchemy, msgspec"}
    read_files = read(tmp_path, **files)
    assert read_files.loaded_libraries("lading.a") == set()
    assert read_files.loaded_libraries("lading.b") == {"sqlalchemy"}


@pytest.mark.parametrize(
    ("importer", "imported", "breaks"),
    [
        ("lading.top", "lading.low.part", False),
        ("lading.low.part", "lading.top", True),
        ("lading.left", "lading.right", True),
        ("lading.low.part", "lading.low.other", False),
        ("lading.low", "elsewhere", False),
    ],
)
def test_an_import_breaks_the_layers_if_it_points_up_or_sideways(importer, imported, breaks):
    layers = graph.Layers("lading", (("top",), ("left", "right"), ("low",)))
    edge = graph.Import(importer, imported, 1, lazy=False, typing_only=False)
    assert layers.breaks(edge) is breaks


def test_only_comments_for_readers_are_counted():
    text = "# why\nx = 1  # [batch]\ny = 2  # noqa: S101\nz = '# text'  # type: ignore[arg-type]\n"
    assert house.count_comments(text) == 2


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("server._stage.heads", [1]),
        ("from lading.bundle import _beside", [1]),
        ("\nmonkeypatch.setattr(server, '_loop', None)", [2]),
        ("monkeypatch.setattr('lading.client._sleep', None)", [1]),
        ("self._own = super()._handle()", []),
        ("os._exit(1)", []),
        ("bundle.__class__", []),
    ],
)
def test_private_names_of_others_are_found_in_tests(code, lines):
    file = house.TestFile(ROOT / "tests" / "test_x.py", code, ast.parse(code))
    assert file.private_reaches() == lines
