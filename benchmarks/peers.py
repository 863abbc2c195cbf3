"""Measure lading beside other model servers, each in an environment of its own; `--write` writes the page.

All serve the same network and answer one row of JSON, each over its own protocol: from one ONNX file with
ONNX Runtime, or as the estimator that it is, with scikit-learn. lading is measured over the protocol that it
has in common with each, or over its own. A peer that cannot be installed or started here is left out, with
the reason in one line.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import lading
import models
import peers_environment
import peers_page
import servers
from lading.runtime.open import load_runtime
from load import http
from peers_page import Results, Start
from servers import Running, running
from workloads import interleaved, started

REFERENCES = Path(__file__).parent / "references"
ROW = [5.1, 3.5, 1.4, 0.2]


@dataclass(frozen=True)
class Contender:
    """A server: how it is started, one request, and where in the answer the probabilities are."""

    command: list[str]
    probe: str
    path: str
    body: bytes
    predictions: Callable[[Any], Any]
    environ: dict[str, str]

    @property
    def start_options(self) -> dict[str, Any]:
        return {"probe": self.probe, "environ": self.environ}


def main() -> int:
    """Run everything; 1 if a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count")
    parser.add_argument("--seconds", type=float, default=2, help="seconds of load a round")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-peers.md")
    parser.add_argument("peers", nargs="*", help=f"of {', '.join(PEERS)}; all of them by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.peers or [*PEERS], Path(folder), options.rounds, options.seconds)
    print(peers_page.table(results))
    if options.write:
        peers_page.write(results)
    return 1 if any(series.failed for series in results.series.values()) else 0


def measure(names: list[str], folder: Path, rounds: int, seconds: float) -> Results:
    """Install, start and check each alone, then load all of them in turn."""
    bundle = lading.Bundle.open(models.small(folder))
    in_python = lading.Bundle.open(models.small_in_python(folder))
    results = Results(rounds, seconds)
    ours = {
        "lading, native": _ours(bundle, _native(bundle)),
        "lading, OIP": _ours(bundle, _oip(bundle)),
        "lading, scikit-learn": _ours(in_python, _oip(in_python)),
    }
    contenders = dict(ours)
    for name in names:
        say(f"installing {name}")
        if why := peers_environment.made(name):
            results.left_out[name] = f"it could not be installed: {why}"
        else:
            contenders[name] = PEERS[name](bundle)
            results.versions[name] = peers_environment.versions(name)
    for name, contender in tuple(contenders.items()):
        say(f"starting {name}")
        try:
            results.starts[name] = start_up(contender, _expected(bundle), 1 + rounds // 2)
        except (AssertionError, TimeoutError) as error:
            if name in ours:
                raise
            results.left_out[name] = f"it could not be started: {error}"
            del contenders[name]
    with started(
        **{name: (contender.command, contender.start_options) for name, contender in contenders.items()}
    ) as up:
        measures = {}
        for name, contender in contenders.items():
            _first_answer(up[name], contender, _expected(bundle))
            measures[name] = functools.partial(
                http, up[name].url(contender.path), contender.body, seconds=seconds
            )
        say("loading them in turn")
        results.series.update(interleaved(measures, rounds))
    return results


def start_up(contender: Contender, expected: np.ndarray, rounds: int) -> Start:
    """Start a server alone, again and again, until it has given the right answer."""
    times, memory = [], []
    for _ in range(rounds):
        began = time.monotonic()
        with running(contender.command, **contender.start_options) as up:
            _first_answer(up, contender, expected)
            times.append(time.monotonic() - began)
            time.sleep(1)  # What comes up after the first answer counts too.
            memory.append(up.proportional_mb)
    return Start(median(times), median(memory))


def _first_answer(up: Running, contender: Contender, expected: np.ndarray) -> None:
    """Wait until the server predicts, and hold its answer against the model's own."""
    request = urllib.request.Request(
        up.url(contender.path), data=contender.body, headers={"content-type": "application/json"}
    )
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                predictions = contender.predictions(json.load(answer))
            break
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            # Some say that they are ready before they can predict.
            if time.monotonic() > until:
                raise TimeoutError(f"no prediction within a minute of being ready: {error}") from error
            time.sleep(0.01)
    assert np.allclose(np.ravel(predictions), expected, atol=1e-5), (
        f"it predicted {predictions}, not {expected}"
    )


def _expected(bundle: lading.Bundle) -> np.ndarray:
    name = bundle.manifest.signature.inputs[0].name
    return load_runtime(bundle, threads=1).run({name: np.array([ROW], np.float32)})["probabilities"].ravel()


def _native(_bundle: lading.Bundle) -> dict[str, Any]:
    body = json.dumps({"data": [ROW]}, separators=(",", ":")).encode()
    return {"path": "/models/iris/predict", "body": body, "predictions": lambda answer: answer["prediction"]}


def _oip(bundle: lading.Bundle) -> dict[str, Any]:
    tensor = {"name": bundle.manifest.signature.inputs[0].name, "shape": [1, 4], "datatype": "FP32"}
    body = {"inputs": [{**tensor, "data": ROW}], "outputs": [{"name": "probabilities"}]}
    return {
        "path": "/v2/models/iris/infer",
        "body": json.dumps(body, separators=(",", ":")).encode(),
        "predictions": lambda answer: answer["outputs"][0]["data"],
    }


def _ours(bundle: lading.Bundle, request: dict[str, Any]) -> Contender:
    return Contender(servers.lading(bundle.path), "/health", environ={}, **request)


def _model(bundle: lading.Bundle) -> dict[str, str]:
    return {"MODEL": str(bundle.path / "model.onnx"), "PYTHONPATH": str(REFERENCES)}


def _mlserver(bundle: lading.Bundle) -> Contender:
    """MLServer predicting in its own process, which is faster on one core than its worker processes."""
    folder = bundle.path.parent / "mlserver"
    folder.mkdir()
    (folder / "model-settings.json").write_text('{"name": "iris", "implementation": "mlserver_model.Iris"}')
    return _started_by_mlserver(bundle, folder, _oip(bundle))


def _started_by_mlserver(bundle: lading.Bundle, folder: Path, request: dict[str, Any]) -> Contender:
    environ = {
        **_model(bundle),
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_PARALLEL_WORKERS": "0",
        "MLSERVER_METRICS_PORT": str(servers.free_port()),
        "MLSERVER_DEBUG": "false",
    }
    ports = ["env", "MLSERVER_HTTP_PORT={port}", "MLSERVER_GRPC_PORT={grpc}"]
    command = [*ports, peers_environment.program("mlserver", "mlserver"), "start", str(folder)]
    return Contender(command, "/v2/health/ready", environ=environ, **request)


def _mlserver_sklearn(bundle: lading.Bundle) -> Contender:
    """MLServer with its own runtime of scikit-learn, in its own process."""
    folder = bundle.path.parent / "mlserver-sklearn"
    folder.mkdir()
    settings = {
        "name": "iris",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(bundle.path.parent / "iris.joblib")},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
    request = _oip(bundle)
    body = json.loads(request["body"]) | {"outputs": [{"name": "predict_proba"}]}
    request["body"] = json.dumps(body, separators=(",", ":")).encode()
    return _started_by_mlserver(bundle, folder, request)


def _bentoml(bundle: lading.Bundle) -> Contender:
    serve = [peers_environment.program("bentoml", "bentoml"), "serve", "bentoml_service:Iris"]
    where = ["--working-dir", str(REFERENCES), "--host", "127.0.0.1", "--port", "{port}"]
    home = {"BENTOML_HOME": str(bundle.path.parent / "bentoml"), "BENTOML_DO_NOT_TRACK": "true"}
    request = {**_native(bundle), "path": "/predict", "predictions": lambda answer: answer}
    return Contender([*serve, *where], "/readyz", environ={**_model(bundle), **home}, **request)


def _litserve(bundle: lading.Bundle) -> Contender:
    command = [
        peers_environment.program("litserve", "python"),
        str(REFERENCES / "litserve_app.py"),
        "{port}",
    ]
    return Contender(command, "/health", environ=_model(bundle), **{**_native(bundle), "path": "/predict"})


def _triton(bundle: lading.Bundle) -> Contender:
    command = [peers_environment.program("triton", "python"), str(REFERENCES / "triton_app.py")]
    return Contender(
        [*command, "{port}", "{grpc}"], "/v2/health/ready", environ=_model(bundle), **_oip(bundle)
    )


PEERS: dict[str, Callable[[lading.Bundle], Contender]] = {
    "mlserver": _mlserver,
    "mlserver-sklearn": _mlserver_sklearn,
    "bentoml": _bentoml,
    "litserve": _litserve,
    "triton": _triton,
}


def say(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
