"""Files of endoflife.date, in both forms of its API."""

from __future__ import annotations

import json

from lading.trust.feeds.end_of_life import read_products
from support.feeds import NUMPY, PYTHON_OLD, read, write


def test_a_list_of_cycles_has_the_product_of_its_name_and_the_date_of_its_file(tmp_path):
    write(tmp_path, "python.json", PYTHON_OLD)
    feeds = read(tmp_path)
    assert [cycle.ends for cycle in feeds.cycles["python"]] == ["2028-10-31", "2024-10-07"]
    assert feeds.states[0].date_of == "file"


def test_an_answer_of_the_newer_api_states_its_product_its_date_and_whether_a_cycle_has_ended():
    file = read_products(json.dumps(NUMPY).encode(), "feed", "renamed.json")
    assert file.date == "2026-11-29T00:00:00+00:00"
    assert [(each.product, each.name, each.ends, each.ended) for each in file.cycles] == [
        ("numpy", "2.4", "", False),
        ("numpy", "1.26", "2025-09-17", True),
    ]


def test_the_older_api_says_true_or_false_where_it_knows_no_date():
    cycles = [{"cycle": 3, "eol": True, "extendedSupport": "2030-01-01"}, {"cycle": "2", "eol": "2020-01-01"}]
    three, two = read_products(json.dumps(cycles).encode(), "feed", "eol/tables.json").cycles
    assert (three.product, three.name, three.ends, three.ended) == ("tables", "3", "", True)
    assert three.extended == "2030-01-01"
    assert (two.ends, two.ended) == ("2020-01-01", None)
