"""Run in the environment of MLflow: its scoring client, and its documents' requests. Not a pytest file.

`mlflow_client.py HTTP_ADDRESS`; says so when all of it works.
"""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import requests
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]


def check_client(address, expected):
    where = urlsplit(address)
    client = ScoringServerClient(where.hostname, where.port)
    client.wait_server_ready()
    assert client.get_version()
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    for data in (frame, frame[COLUMNS[::-1]], np.array(ROWS)):
        answer = client.invoke(data)
        assert answer.get_predictions(predictions_format="ndarray").tolist() == expected
        assert answer.get_predictions()[0].tolist() == expected
    probabilities = client.invoke(frame, params={"outputs": ["probabilities"]}).get_predictions()
    assert probabilities.shape == (2, 3)
    message = refusal(client, pd.DataFrame(ROWS))
    assert "error code 400" in message
    assert "sepal_length" in message


def refusal(client, data):
    try:
        client.invoke(data)
    except Exception as error:  # noqa: BLE001 - the client raises nothing narrower
        return str(error)
    raise AssertionError("not refused")


def check_requests(address, expected):
    """Send what MLflow's page "Deploy MLflow Model as a Local Inference Server" sends."""
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    bodies = [
        {"dataframe_split": frame.to_dict(orient="split")},
        {"dataframe_records": frame.to_dict(orient="records")},
        {"instances": ROWS},
        {"inputs": ROWS},
        {"inputs": {"X": ROWS}},
    ]
    headers = {"Content-Type": "application/json"}
    for body in bodies:
        answer = requests.post(f"{address}/invocations", data=json.dumps(body), headers=headers, timeout=30)
        assert answer.json() == {"predictions": expected}, answer.text
    headers = {"Content-Type": "text/csv"}
    text = frame.to_csv(index=False)
    answer = requests.post(f"{address}/invocations", data=text, headers=headers, timeout=30)
    assert answer.json() == {"predictions": expected}, answer.text


def main(address):
    body = {"data": ROWS, "outputs": ["label"]}
    expected = requests.post(f"{address}/predict", json=body, timeout=30).json()["outputs"]["label"]
    check_client(address, expected)
    check_requests(address, expected)
    print("all of it works")


if __name__ == "__main__":
    main(*sys.argv[1:])
