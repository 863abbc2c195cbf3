"""A candidate made worse on purpose passes every check before its release; a replay of the log finds it."""

from __future__ import annotations

import httpx
import pyarrow.parquet as pq
import pytest

from lading.registry import Registry
from support.predictions import parquet_files
from support.server_process import serving

MODEL = """
import sys
import lading
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

iris = load_iris(as_frame=True)
names = iris.target_names[iris.target]
data = iris.data
if "swapped" in sys.argv:  # Two columns were mixed up where the training data comes from.
    data = data.rename(columns={data.columns[2]: data.columns[1], data.columns[1]: data.columns[2]})
    data = data[iris.data.columns]
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(data, names)
lading.pack(
    model,
    samples=data,
    name="iris",
    owner="ml@example.com",
    purpose="classification",
    metrics={"accuracy": float(model.score(data, names))},
    to=sys.argv[1],
)
"""
GATES = "min_metric.accuracy = 0.9\n"


@pytest.mark.slow
def test_a_worse_candidate_is_found_by_a_replay_and_by_nothing_else_before_its_release(shell, tmp_path):
    from sklearn.datasets import load_iris

    shell.write("model.py", MODEL)
    shell.write("gates.toml", GATES)
    shell.must("python model.py good.bundle && python model.py worse.bundle swapped")
    shell.must("lading push good.bundle")
    data = load_iris()
    truth = data.target_names[data.target].tolist()
    registry = str(tmp_path / "registry")
    flags = ("--log-predictions", "1", "--grpc-port", "-1", "--registry", registry)
    with serving("iris:1", flags=flags) as server, httpx.Client(base_url=server.url) as client:
        for start in range(0, 150, 5):
            rows = data.data[start : start + 5].tolist()
            answer = client.post("/models/iris/predict", json={"data": rows})
            feedback = {"request_id": answer.headers["x-request-id"], "label": truth[start : start + 5]}
            assert client.post("/models/iris/feedback", json=feedback).json() == {"counted": "logged"}
        assert server.stop() == 0
    log = tmp_path / "registry" / "log"
    assert sum(pq.read_metadata(path).num_rows for path in parquet_files(log)) == 150

    # Whatever else is asked of a version before its release says yes.
    shell.must("lading push worse.bundle")
    shell.must("lading verify iris:2 --gates gates.toml")
    assert shell.must("lading diff iris:1 iris:2 --json").json["differences"] == []

    same = shell.must("lading replay iris:1 --from-log --since 1d --json").json["replay"]
    assert (same["rows"], same["differing"]) == (150, 0)
    assert same["candidate_right"] == same["logged_right"] > 140
    worse = shell.run("lading replay iris:2 --from-log --since 1d --max-flipped 1% --json")
    assert worse.code == 1
    assert "of the rows name another class, expected at most 1.00%" in worse.stderr
    outcome = worse.json["replay"]
    assert outcome["labelled"] == 150
    assert outcome["candidate_right"] < 120
    with Registry.open(registry) as opened:
        assert opened.releases("iris") == []
