"""Searching a log: newest first over hours, pages without gaps, parameters, cut values, and time."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import ModelNotFound, UsageError
from lading.monitor.log.reader import open_log
from lading.monitor.log.search import Limits, Result, Sought, search
from lading.monitor.log.tables import quoted
from lading.signature import Signature, Tensor
from support.predictions import NOON, LogMaker, chunk, parquet_files, served


@pytest.fixture
def log(tmp_path):
    return LogMaker(tmp_path / "log")


def found(log: LogMaker, limits: Limits | None = None, **sought) -> Result:
    reader = open_log(str(log.root), modest=True)
    return search(reader, "iris", Sought(**sought), limits or Limits(seconds=60))


def ids(result: Result) -> list[str]:
    return [record.id for record in result.records]


def fill(log: LogMaker) -> None:
    """Log three hours of ten requests of two rows."""
    for hour in range(3):
        log.add(
            chunk(
                [f"{hour}-{at}" for at in range(10)],
                rows=[2] * 10,
                ended_at=[NOON + 3600 * hour + at for at in range(10)],
                errors=["RunFailed" if at == 3 else "" for at in range(10)],
                statuses=[500 if at == 3 else 200 for at in range(10)],
                warnings=[("too large",) if at == 4 else () for at in range(10)],
            )
        )


@pytest.mark.slow
def test_pages_go_back_over_hours_without_a_gap_and_without_a_repetition(log):
    fill(log)
    log.close()
    log.add(chunk(["open"], ended_at=[NOON + 3 * 3600]))
    log.flush()
    seen, before, times = [], None, []
    while True:
        page = found(log, Limits(rows=7, seconds=60), before=before)
        assert not page.is_late
        seen += [(record.id, record.row) for record in page.records]
        times += [record.time for record in page.records]
        before = page.older
        if before is None:
            break
    assert len(seen) == len(set(seen)) == 61
    assert seen[0] == ("open", 0)
    assert times == sorted(times, reverse=True)


@pytest.mark.slow
def test_records_are_found_by_what_is_known_of_them(log):
    fill(log)
    log.add(chunk(["other"], served=served(version=2), side="shadow", ended_at=[NOON]))
    log.label("1-2", "class 0", "class 1", at=NOON + 9000)
    log.close()
    assert ids(found(log, version=2)) == ["other"]
    assert ids(found(log, side="shadow")) == ["other"]
    assert ids(found(log, request="1-2")) == ["1-2", "1-2"]
    assert {id[2:] for id in ids(found(log, outcome="error"))} == {"3"}
    assert {id[2:] for id in ids(found(log, status="500"))} == {"3"}
    assert {id[2:] for id in ids(found(log, outcome="warned"))} == {"4"}
    assert len(ids(found(log, replica="replica-1"))) == 50
    assert ids(found(log, replica="nobody")) == []
    assert {id[0] for id in ids(found(log, since=NOON + 3600, until=NOON + 7200))} == {"1"}
    labelled = found(log, labelled="yes")
    assert labelled.unread == []
    assert [(record.id, record.row, record.label) for record in labelled.records] == [
        ("1-2", 1, "class 1"),
        ("1-2", 0, "class 0"),
    ]
    assert labelled.records[0].labelled_at == NOON + 9000
    assert "1-2" not in ids(found(log, Limits(rows=100, seconds=60), labelled="no"))


@pytest.mark.slow
def test_columns_are_compared_as_they_are(log):
    inputs = {"X": np.array([[5.1, 1], [5.2, 2], [np.nan, 3]], np.float32)}
    outputs = {"label": np.array(["a", "b", "ab"], object)}
    log.add(chunk(["x", "y", "z"], inputs=inputs, outputs=outputs))
    log.close()

    def by(column: str, operator: str, value: str = "") -> list[str]:
        return sorted(ids(found(log, column=column, operator=operator, value=value)))

    assert by("inputs.length", "eq", "5.1") == ["x"]
    assert by("inputs.width", "gt", "1.5") == ["y", "z"]
    assert by("inputs.width", "lt", "2") == ["x"]
    assert by("outputs.label", "eq", "b") == ["y"]
    assert by("outputs.label", "has", "a") == ["x", "z"]
    assert by("outputs.none", "eq", "a") == []
    assert by("outputs.none", "missing") == ["x", "y", "z"]
    with pytest.raises(UsageError, match="expected a number, found `wide`"):
        by("inputs.width", "eq", "wide")


@pytest.mark.slow
@pytest.mark.parametrize("text", ["' OR 1=1 --", '"; DROP TABLE x', "x' UNION SELECT 1", "\x00", "%"])
def test_what_is_looked_for_is_never_sql(log, text):
    log.add(chunk(["a"]))
    log.close()
    for sought in (
        {"request": text},
        {"replica": text},
        {"status": text},
        {"side": text},
        {"column": f"inputs.{text}", "value": "1"},
        {"column": "outputs.label", "value": text},
        {"column": "outputs.label", "operator": "has", "value": text},
    ):
        result = found(log, **sought)
        assert (result.records, result.unread) == ([], [])


def test_a_column_may_have_any_name(log):
    name = "a\"b'; --"
    signature = Signature(
        (Tensor(name="X", dtype="float32", shape=("batch", 2), columns=(name, "x")),),
        (Tensor(name="label", dtype="string", shape=("batch",)),),
    )
    log.add(chunk(["a"], served=served(signature)))
    log.close()
    assert quoted(name).count('"') == 4
    result = found(log, column=f"inputs.{name}", value="0")
    assert result.records[0].inputs == {name: "0.0", "x": "1.0"}


def test_large_values_are_cut_with_their_length(log):
    signature = Signature(
        (
            Tensor(name="image", dtype="float32", shape=("batch", 3, 50)),
            Tensor(name="text", dtype="string", shape=("batch", 1)),
            Tensor(name="pair", dtype="int64", shape=("batch", 2)),
        ),
        (Tensor(name="label", dtype="string", shape=("batch",)),),
    )
    inputs = {
        "image": np.zeros((1, 3, 50), np.float32),
        "text": np.array([["<b>" + "x" * 100_000]], object),
        "pair": np.array([[1, 2]]),
    }
    log.add(chunk(["a"], served=served(signature), inputs=inputs))
    log.close()
    (record,) = found(log).records
    assert record.inputs["image"] == "0.0, 0.0, 0.0, 0.0, … (3 × 50)"
    assert record.inputs["pair"] == "1, 2"
    assert record.inputs["text"] == "<b>" + "x" * 197 + "… (100,003)"
    with pytest.raises(UsageError, match="found a list"):
        found(log, column="inputs.image", value="1")


def test_wide_records_have_their_first_columns_and_say_how_many_more(log):
    names = tuple(f"c{at}" for at in range(300))
    signature = Signature(
        (Tensor(name="X", dtype="float32", shape=("batch", 300), columns=names),),
        (Tensor(name="label", dtype="string", shape=("batch",)),),
    )
    log.add(chunk(["a"], served=served(signature), inputs={"X": np.zeros((1, 300), np.float32)}))
    log.close()
    (record,) = found(log).records
    assert (len(record.inputs), len(record.outputs), record.more) == (40, 1, 260)


def test_a_search_whose_time_is_up_says_where_it_goes_on(log):
    fill(log)
    log.close()
    result = found(log, Limits(seconds=0))
    assert (result.is_late, result.records, result.searched_from) == (True, [], None)
    assert result.older is not None
    assert result.older.time_us == (NOON + 3 * 3600) * 1e6
    assert len(found(log, before=result.older).records) == 50


def test_a_damaged_file_hides_no_other_hour(log):
    fill(log)
    log.close()
    parquet_files(log.root)[1].write_bytes(b"PAR1 nothing")
    result = found(log, Limits(rows=100, seconds=60))
    assert {id[0] for id in ids(result)} == {"0", "2"}
    assert len(result.unread) == 1
    assert result.unread[0].startswith("2026-11-30 13:00 UTC: ")


def test_a_log_of_another_model_is_not_found(log):
    log.add(chunk(["a"]))
    log.close()
    with pytest.raises(ModelNotFound):
        search(open_log(str(log.root)), "churn", Sought(), Limits())
