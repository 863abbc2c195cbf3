"""Rows that `--where` chooses: the same ones of every form of file, and nothing but an expression."""

from __future__ import annotations

import csv
import datetime
import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from lading.batch.checking import check_against, check_output
from lading.batch.ledger import read_manifest
from lading.batch.places.open import open_place
from lading.batch.run import Options, run_batch
from lading.batch.where import Where
from lading.errors import BatchChanged, InputMissing, UsageError, ValueRefused
from support.batch_runs import COLUMNS, HERE, aside, scored

ROWS = 60
SEEN = datetime.datetime.fromisoformat("2026-01-01 10:00:00")
FORMS = ("rows.parquet", "rows.arrow", "rows.csv", "rows.jsonl")


def lines() -> list[dict]:
    """Return rows with all kinds of values, some of them missing."""
    rows = []
    for at in range(ROWS):
        row = dict.fromkeys(COLUMNS, at / 10)
        row |= {
            "country": ("KR", "US", None, "it's", "한국")[at % 5],
            "amount": None if at % 7 == 6 else at - 9.5,
            "count": 9_007_199_254_740_992 + at,
            "active": (True, False, None)[at % 3],
            "day": datetime.date(2026, 1, 1) + datetime.timedelta(at),
            "seen": SEEN + datetime.timedelta(seconds=at / 2),
            "a name": at,
        }
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write the same rows in all forms."""
    folder, rows = tmp_path_factory.mktemp("forms"), lines()
    table = pa.Table.from_pylist(rows)
    table = table.set_column(4, "country", table["country"].dictionary_encode())
    pyarrow.parquet.write_table(table, folder / "rows.parquet", row_group_size=20)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, 20)
    for row in rows:
        row["day"], row["seen"] = str(row["day"]), str(row["seen"]).removesuffix("00000")
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in rows)
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {**row, "active": {None: ""}.get(row["active"], str(row["active"]).lower())} for row in rows
        )
    return folder


CHOSEN = {
    "country = 'KR' and amount > 10": lambda row: row["country"] == "KR" and (row["amount"] or 0) > 10,
    "not amount > 10": lambda row: row["amount"] is not None and row["amount"] <= 10,
    "amount is null or active": lambda row: row["amount"] is None or row["active"],
    "country in ('한국', 'it''s')": lambda row: row["country"] in ("한국", "it's"),
    "lower(country) like 'k_' and not active": lambda row: (row["country"], row["active"]) == ("KR", False),
    "amount + 2 * amount between -3 and 30": lambda row: -1 <= (row["amount"] or -9) <= 10,
    "count = '9007199254740993'": lambda row: row["count"] == 9_007_199_254_740_993,
    "day >= '2026-02-01' and day < '2026-02-10'": lambda row: "2026-02-01" <= str(row["day"]) < "2026-02-10",
    "seen <= '2026-01-01 10:00:05'": lambda row: row["seen"] <= SEEN + datetime.timedelta(seconds=5),
    "seen > '2026-01-01 10:00:05.5'": lambda row: row["seen"] > SEEN + datetime.timedelta(seconds=5.5),
    '"a name" <> 5 and country is not null': lambda row: row["a name"] != 5 and row["country"] is not None,
}


@pytest.mark.slow
@pytest.mark.parametrize("expression", CHOSEN)
def test_the_same_rows_are_chosen_of_every_form_of_file(tmp_path, iris, folder, expression):
    numbers = [at for at, row in enumerate(lines()) if CHOSEN[expression](row)]
    assert 0 < len(numbers) < ROWS
    for name in FORMS:
        run = run_batch(iris, [folder / name], tmp_path / name, Options(where=expression, processes=1))
        assert scored(tmp_path / name)["row"].to_pylist() == numbers, name
        manifest = run.manifest
        assert (manifest.rows, manifest.scored, manifest.rejected) == (ROWS, len(numbers), 0)
        assert (manifest.where, manifest.left_out) == (expression, ROWS - len(numbers))
        assert manifest.inputs[0].left_out == ROWS - len(numbers)


def test_an_expression_may_choose_no_row_at_all(tmp_path, iris, folder):
    for name in FORMS:
        options = Options(where="amount > 1000", processes=1)
        run = run_batch(iris, [folder / name], tmp_path / name, options)
        assert (run.manifest.rows, run.manifest.scored, run.manifest.left_out) == (ROWS, 0, ROWS)
        assert not list((tmp_path / name).glob("part-*"))
        assert check_output(tmp_path / name).files == 0


def test_a_run_with_an_expression_is_checked_and_gone_on_with_as_any(tmp_path, iris, folder):
    options = Options(where="amount > 10", processes=1)
    run = run_batch(iris, [folder / "rows.parquet"], tmp_path / "out", options)
    assert check_output(tmp_path / "out").manifest.left_out == run.manifest.left_out > 0
    check = check_against(tmp_path / "out", iris, [folder / "rows.parquet"], tmp_path / "scratch", again=1)
    assert check.rescored == 1
    assert run_batch(iris, [folder / "rows.parquet"], tmp_path / "out", options).resumed == 1
    for other, word in (
        (Options(processes=1), "no `--where`"),
        (Options(where="amount > 9"), "`--where amount > 9`"),
    ):
        with pytest.raises(BatchChanged, match=word):
            run_batch(iris, [folder / "rows.parquet"], tmp_path / "out", other)
    text = (tmp_path / "out/manifest.json").read_text()
    (tmp_path / "out/manifest.json").write_text(text.replace('"left_out": ', '"left_out": 1'))
    with pytest.raises(BatchChanged, match="rows"):
        check_output(tmp_path / "out")


def test_a_row_that_is_left_out_is_not_set_aside(tmp_path, iris):
    text = "customer," + ",".join(COLUMNS) + "\n1,1,2,3,4\n2,1,2,3,x\n3,1,2\n4,1,2,3,x\n5,1,2,3,4\n"
    (tmp_path / "rows.csv").write_text(text)
    options = Options(where="customer <> 4", processes=1, max_rejected=0.51)
    run = run_batch(iris, [tmp_path / "rows.csv"], tmp_path / "out", options)
    # A line that is no row has no customer to ask for: it is set aside whatever the expression says.
    assert [row["row"] for row in aside(tmp_path / "out")] == [1, 2]
    assert (run.manifest.scored, run.manifest.rejected, run.manifest.left_out) == (2, 2, 1)
    with pytest.raises(Exception, match="2 of 4"):
        run_batch(
            iris,
            [tmp_path / "rows.csv"],
            tmp_path / "other",
            Options(where="customer <> 4", max_rejected=0.4),
        )


@pytest.mark.parametrize("name", FORMS)
def test_an_unknown_column_is_refused_before_the_first_row(tmp_path, iris, folder, name):
    with pytest.raises(InputMissing, match="column `amuont`, for `--where`") as caught:
        run_batch(iris, [folder / name], tmp_path / "out", Options(where="amuont > 10"))
    assert caught.value.hint == "did you mean `amount`?"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("day > 20260101", "compared as texts"),
        ("amount = '1'", "without quotes"),
        ("amount", ""),
        ("nested = 1", ""),
    ],
)
def test_a_column_of_which_no_value_fits_is_refused_before_the_first_row(
    tmp_path, iris, folder, expression, hint
):
    table = pyarrow.parquet.read_table(folder / "rows.parquet")
    nested = pa.array([[1]] * ROWS)
    pyarrow.parquet.write_table(table.append_column("nested", nested), tmp_path / "rows.parquet")
    with pytest.raises(ValueRefused, match="for `--where`") as caught:
        run_batch(iris, [tmp_path / "rows.parquet"], tmp_path / "out", Options(where=expression))
    assert hint in (caught.value.hint or "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("a = (select 1)", "subquery"),
        ("a in (select 1)", "subquery"),
        ("exists (select 1)", "subquery"),
        ("a = 1) union select (1", "expression"),
        ("a = 1; drop table x", "expression"),
        ("a = 1) or (b = 2", "expression"),
        ("a = 1 limit 1", "expression"),
        ("a = 1 group by a", "expression"),
        ("a >", "expression"),
        ("read_text('/etc/passwd') = a", "read_text"),
        ("getenv('HOME') = a", "getenv"),
        ("count(*) > a", "count_star"),
        ("a::int = 1", "cast"),
        ("a = null", "is null"),
        ("a = 1e999", "1e999"),
        ("t.a = 1", '"t.a"'),
        ("a = $1", "parameter"),
        ("a > b", "`a` and `b` alone"),
        ("a = 'x' = true", "expression"),
        ("(a = 1) = 'x'", "true or false"),
        ("1 = 1", "a column"),
        ("at = 1", "goes in double quotes"),
    ],
)
def test_what_is_no_simple_expression_is_refused_with_a_hint(expression, word):
    with pytest.raises(UsageError) as caught:
        Where(expression)
    assert caught.value.where == f"`--where {expression}`"
    assert word in str(caught.value)


def test_a_comment_hides_nothing():
    assert Where("a = 1 -- and b = 2").columns == ("a",)


def test_a_plan_and_a_manifest_without_an_expression_are_those_of_before_there_was_one(tmp_path, iris, table):
    pyarrow.parquet.write_table(table(10), tmp_path / "rows.parquet")
    run_batch(iris, [tmp_path / "rows.parquet"], tmp_path / "out", HERE)
    manifest = json.loads((tmp_path / "out/manifest.json").read_bytes())
    keys = [
        "format",
        "bundle",
        "model",
        "plan",
        "keep",
        "rows",
        "scored",
        "rejected",
        "reasons",
        "inputs",
        "parts",
    ]
    assert list(manifest) == keys
    assert list(manifest["inputs"][0]) == ["name", "sha256", "size_bytes", "rows", "scored", "rejected"]
    assert list(manifest["parts"][0]) == ["file", "first_row", "rows", "output", "rejected"]
    assert list(manifest["parts"][0]["output"]) == ["name", "rows", "size_bytes", "sha256"]
    plan = json.loads((tmp_path / "out/.lading/plan.json").read_bytes())
    assert list(plan) == ["format", "bundle", "model", "keep", "chunk_rows", "files", "tasks"]
    assert list(plan["files"][0]) == ["name", "path", "form", "size_bytes", "sha256", "changed_ns"]
    assert read_manifest(open_place(tmp_path / "out")).where == ""
