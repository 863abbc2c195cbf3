"""A profile as people read it."""

from __future__ import annotations

import numpy as np

from lading.cli.ui.profile_view import bars, difference_rows, profile_line, profile_table
from lading.profile.compare import profile_differences
from lading.profile.measure import measure
from lading.signature import Signature, Tensor

RANDOM = np.random.default_rng(0)


def profile(rows=2000, shift=0.0, **more):
    columns = {
        "age": (RANDOM.normal(40 + shift, 10, rows)).astype(np.float32),
        "city": np.array(RANDOM.choice(["Oslo", "Rome", ""], rows, p=[0.6, 0.3, 0.1]), object),
        "note": np.array([f"note {at}" for at in range(rows)], object),
        "paid": RANDOM.random(rows) < 0.25,
        "since": np.array([f"2024-{at % 12 + 1:02d}-01" for at in range(rows)], object),
    }
    dtypes = {"age": "float32", "paid": "bool"}
    inputs = tuple(Tensor(name=name, dtype=dtypes.get(name, "string"), shape=("batch",)) for name in columns)
    return measure(Signature(inputs, ()), columns, **more)


def test_a_line_says_what_was_measured():
    assert profile_line(profile(20)) == "20 rows of reference data"
    assert profile_line(profile(20, source="samples")) == "20 rows of samples"
    assert profile_line(profile(20, right=np.arange(20) > 4)) == "20 rows of reference data, accuracy 0.75"


def test_a_table_has_a_row_for_each_column(capsys):
    profile_table(profile())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    text = {line.split()[1]: line for line in lines[1:]}
    assert "number" in text["age"]
    assert "▁" in text["age"]
    assert "Oslo 6" in text["city"]
    assert "category" in text["city"]
    assert " %" in text["city"]
    assert "6 – 9 characters" in text["note"]
    assert "True 2" in text["paid"]
    assert "2024-01-01 – 2024-12-01" in text["since"]


def test_bars_show_the_form_of_a_distribution():
    age, _, _, paid, _ = profile().inputs
    line = bars(age)
    assert len(line) == 20
    assert "█" in line[7:13]
    assert line[0] in "▁▂"
    assert bars(paid) == "█▃"


def test_columns_that_differ_are_listed_with_both_sides():
    rows = difference_rows(profile_differences(profile(), profile(shift=20)))
    assert len(rows) == 1
    where, old, new = rows[0]
    assert where.startswith("input `age`, ")
    assert where.endswith(" % of rows")
    assert old.startswith(("39", "40"))
    assert new.startswith(("59", "60"))
