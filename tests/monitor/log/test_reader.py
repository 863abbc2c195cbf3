"""Reading a log: labels joined to records, versions with other columns, SQL that reaches nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import ModelNotFound, NotFound, UsageError
from lading.monitor.log.keeper import convert_closed
from lading.monitor.log.reader import open_log
from lading.signature import Signature, Tensor
from support.predictions import COLUMNS, NOON, LogMaker, chunk, served


@pytest.fixture
def log(tmp_path):
    return LogMaker(tmp_path / "log")


def rows(log: LogMaker, sql: str) -> list[dict]:
    return open_log(str(log.root)).query("iris", sql).to_pylist()


def test_a_record_is_a_row_with_what_is_known_of_its_request(log):
    log.add(chunk(["a", "b"], rows=[1, 2], release=4, side="candidate", warnings=[(), ("too large",)]))
    log.close()
    record = rows(log, "SELECT * FROM log WHERE id = 'b' AND row = 1")[0]
    assert record["inputs"] == {"length": 4.0, "width": 5.0}
    assert record["outputs"] == {"label": "class 0"}
    assert record["time"].timestamp() == NOON + 1
    assert (record["model"], record["version"], record["release"], record["side"]) == (
        "iris",
        1,
        4,
        "candidate",
    )
    assert (record["replica"], record["status"], record["error"]) == ("replica-1", "200", None)
    assert (record["latency_s"], record["warnings"], record["hour"]) == (0.25, ["too large"], 12)


def test_labels_join_their_rows_and_only_the_first_counts(log):
    log.add(chunk(["a", "b"], rows=[2, 1]))
    log.close()
    log.label("a", "x", "y", at=NOON + 60)
    log.label("a", "z", at=NOON + 120)
    log.label("unknown", "x")
    log.flush()  # The labels are not yet in a file.
    records = rows(
        log, "SELECT id, row, label, epoch(labelled_at - time) AS delay_s FROM log ORDER BY id, row"
    )
    assert [(row["id"], row["row"], row["label"]) for row in records] == [
        ("a", 0, "x"),
        ("a", 1, "y"),
        ("b", 0, None),
    ]
    assert records[0]["delay_s"] == 60


@pytest.mark.slow
def test_every_label_joins_its_record_exactly_once_over_50_releases_and_two_replicas(tmp_path):
    """Each replica answers and is sent truths about answers of both, late, twice, and in several orders."""
    replicas = [LogMaker(tmp_path / "log"), LogMaker(tmp_path / "log")]
    replicas[1].log = type(replicas[1].log)(1.0, replicas[1]._outgoing, replica="replica-2")
    expected = {}
    for release in range(1, 51):
        for number, replica in enumerate(replicas):
            ids = [f"{release}-{number}-{at}" for at in range(20)]
            signature_of = served(version=release)
            at = [NOON + 600 * release + second for second in range(20)]
            replica.add(
                chunk(ids, rows=[2] * 20, served=signature_of, release=release, side="live", ended_at=at)
            )
            expected |= {(request, row): (release, f"{request} {row}") for request in ids for row in (0, 1)}
        replicas[release % 2].flush()
    order = np.random.default_rng(0).permutation(sorted({request for request, _ in expected}))
    for at, request in enumerate([*order, *order[:200]]):  # Some come twice: the first counts.
        texts = [f"{request} 0", f"{request} 1"] if at < len(order) else ["late", "late"]
        replicas[at % 2].label(str(request), *texts, at=NOON + 40_000 + at)
    replicas[0].close()
    replicas[1].flush()
    records = rows(replicas[0], "SELECT id, row, release, label, labelled_at, replica FROM log")
    assert len(records) == len(expected) == 4000
    assert {(row["id"], row["row"]): (row["release"], row["label"]) for row in records} == expected
    assert {row["replica"] for row in records} == {"replica-1", "replica-2"}


def test_versions_with_other_columns_are_one_table(log):
    log.add(chunk(["a"]))
    other = Signature(
        (Tensor(name="X", dtype="float64", shape=("batch", 2), columns=("width", "height")),),
        (Tensor(name="value", dtype="float32", shape=("batch", 1)),),
    )
    inputs, outputs = {"X": np.array([[1.0, 2.0]])}, {"value": np.array([[3.0]], np.float32)}
    log.add(chunk(["b"], served=served(other, version=2), inputs=inputs, outputs=outputs))
    log.close()
    records = rows(log, "SELECT version, inputs, outputs FROM log ORDER BY version")
    assert records[0]["inputs"] == {"length": 0.0, "width": 1.0, "height": None}
    assert records[1]["inputs"] == {"length": None, "width": 1.0, "height": 2.0}
    assert records[1]["outputs"] == {"label": None, "value": 3.0}


def test_a_log_of_failures_alone_can_be_queried(log):
    log.add(chunk(["a"], outputs={}, errors=["RunFailed"], statuses=[500]))
    log.close()
    assert rows(log, "SELECT error, outputs FROM log") == [{"error": "RunFailed", "outputs": None}]


@pytest.mark.slow
def test_records_come_hour_by_hour_between_two_times(log):
    for hour in (2, 0, 1):
        log.add(chunk([f"h{hour}"], ended_at=[NOON + 3600 * hour + 10]))
    log.close()
    log.add(chunk(["open"], ended_at=[NOON + 3 * 3600]))
    log.flush()
    reader = open_log(str(log.root))

    def ids(**options) -> list[str]:
        return [
            text
            for batch in reader.records("iris", columns=["id"], **options)
            for text in batch["id"].to_pylist()
        ]

    assert ids() == ["h0", "h1", "h2", "open"]
    assert ids(since=NOON + 3600, until=NOON + 7200) == ["h1"]
    assert ids(since=NOON + 11, where="id <> 'h1'") == ["h2", "open"]
    assert ids(where="label IS NOT NULL") == []


def test_a_segment_that_became_a_file_meanwhile_is_read_once(log, monkeypatch):
    log.add(chunk(["a"]))
    log.flush()
    log.journal.close()  # Closed, and not yet a file.
    reader = open_log(str(log.root))
    with reader.tables("iris") as tables:
        convert_closed(log.root)
        assert tables.query("SELECT count(*) AS n FROM log").read_all()["n"].to_pylist() == [1]
    assert rows(log, "SELECT count(*) AS n FROM log") == [{"n": 1}]


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("selec 1", "syntax error"),
        ("SELECT height FROM log", "height"),
        ("DROP VIEW log", "the log is read-only, found `DROP`"),
        ("SELECT 1; SELECT 2", "found `SELECT`, `SELECT`"),
        ("", "found nothing"),
        ("COPY (SELECT 1) TO 'x.csv'", "found `COPY`"),
        ("SELECT * FROM read_csv('/etc/passwd')", "Cannot access file"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd"),
        ("SELECT * FROM connection", "connection"),
        ("SET memory_limit = '1GB'", "found `SET`"),
    ],
)
def test_sql_that_is_wrong_or_reaches_beyond_the_log_is_refused(log, sql, sentence):
    log.add(chunk(["a"]))
    log.close()
    with pytest.raises(UsageError, match=sentence):
        rows(log, sql)


def test_a_log_or_model_that_does_not_exist_is_named(log, tmp_path):
    with pytest.raises(NotFound, match=r"prediction log `.*nowhere`: expected a log"):
        open_log(str(tmp_path / "nowhere"))
    log.add(chunk(["a"]))
    log.flush()
    with pytest.raises(ModelNotFound, match="records of `rose`") as error:
        open_log(str(log.root)).query("rose", "SELECT 1")
    assert error.value.hint == "it has `iris`"


def test_a_folder_with_special_characters_is_only_a_folder(tmp_path):
    log = LogMaker(tmp_path / "a[b]*'c" / "log")
    log.add(chunk(["a"]))
    log.close()
    assert rows(log, "SELECT count(*) AS n FROM log") == [{"n": 1}]
    assert COLUMNS == ("length", "width")
