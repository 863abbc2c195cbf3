"""The pictures in docs/: as new as the templates, small, of every page, and the same each time."""

from __future__ import annotations

import pytest

from support.hub_pictures import FOLDER, MOST_BYTES, MOST_BYTES_ALL, PAGES, STAMP, page_text, taken, taken_of
from support.hub_routes import SCENE

AGAIN = "take them again with `python scripts/hub_pictures.py`, and look at them"


def test_the_pictures_are_as_new_as_the_templates():
    assert STAMP.read_text("utf-8").strip() == taken_of(), AGAIN


def test_the_page_of_pictures_has_them_all():
    text = (FOLDER.parent / "hub-pages.md").read_text("utf-8")
    assert text == page_text(), AGAIN
    names = {part.partition(")")[0] for part in text.split("](hub/")[1:]}
    assert names | {"home-1440-ko.webp"} == {path.name for path in FOLDER.glob("*.webp")}, AGAIN


def test_every_page_has_a_picture():
    addresses = {address for address, _ in PAGES.values()}
    without = [path for path, examples in SCENE.items() if not addresses & set(examples)]
    # Acts have one template, of which promoting is the example.
    acts = ("pause", "resume", "abort", "rollback")
    without = [path for path in without if not path.endswith(tuple(f"/release/{act}" for act in acts))]
    assert not without


def test_the_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
    assert sum(sizes.values()) <= MOST_BYTES_ALL


@pytest.mark.slow
def test_the_pictures_look_the_same_each_time(people, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = (dict(taken(people, tmp_path / name, ("390-dark",))) for name in ("first", "second"))
    assert len(first) == len(PAGES) + 1
    assert [name for name in first if first[name] != second[name]] == []
