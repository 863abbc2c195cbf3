"""Three frameworks, one server: XGBoost and PyTorch as ONNX, and rules of one's own in Python.

Each is trained here, packed with its proof, and asked over HTTP; the answers are held against the framework's
own. Needs PyTorch: `make demo-frameworks` runs it in an environment that has it, in ``.demo-frameworks``.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn
from xgboost import XGBClassifier

import lading

FOLDER = Path(__file__).parents[1] / ".demo-frameworks"
RULES = """import json

import numpy as np

import lading


class Rules(lading.Model):
    def load(self, files):
        self.limits = json.loads((files / "limits.json").read_text())

    def predict(self, inputs):
        limits = np.array([self.limits.get(country, 0) for country in inputs["country"]])
        return {"label": np.where(inputs["amount"] > limits, "ask", "pay").astype(object)}
"""


def xgboost() -> tuple[lading.Bundle, np.ndarray, np.ndarray]:
    """Train and pack a classifier of tumours; return rows and XGBoost's own answers for them."""
    rows, classes = load_breast_cancer(return_X_y=True)
    model = XGBClassifier(n_estimators=60).fit(rows[100:], classes[100:])
    bundle = lading.pack(model, name="tumour", samples=rows[100:], **options())
    return bundle, rows[:100], model.predict_proba(rows[:100])


def pytorch() -> tuple[lading.Bundle, np.ndarray, np.ndarray]:
    """Train and pack a network for digits; return images and PyTorch's own answers for them."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 16  # [rows, 8, 8]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        loss = nn.functional.nll_loss(model(images).log(), torch.tensor(digits.target))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    bundle = lading.pack(model, name="digits", samples=images[100:].numpy(), **options())
    with torch.no_grad():
        return bundle, images[:100].numpy(), model(images[:100]).numpy()


def python() -> lading.Bundle:
    """Pack rules in Python, which run in an environment of their own."""
    Path("rules.py").write_text(RULES)
    Path("limits.json").write_text('{"KR": 500, "DE": 200}')
    sys.path.insert(0, str(FOLDER))
    from rules import Rules

    samples = {"amount": np.array([100.0, 900.0, 300.0]), "country": np.array(["KR", "KR", "DE"])}
    return lading.pack(Rules, name="payments", samples=samples, files=["limits.json"], **options())


def options() -> dict[str, object]:
    """Return what all three are packed with."""
    return {"owner": "ml@example.com", "on_note": lambda note: print(f"      note: {note}", flush=True)}


@contextmanager
def serving(*bundles: lading.Bundle) -> Iterator[str]:
    """Serve the bundles on a free port while the block runs; yields the address once all are ready."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lading", "serve", *(f"./{bundle.path.name}" for bundle in bundles)]
    command += ["--allow", "code", "--port", str(port), "--grpc-port", "-1"]
    with Path("serve.log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                with lading.Client(url) as client:
                    if client.health()["health"] == "ok":
                        break
            except lading.LadingError:
                pass
            if server.poll() is not None:
                sys.exit(f"demo-frameworks: the server ended:\n{Path('serve.log').read_text()}")
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    """Train, pack, serve and ask."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    os.chdir(FOLDER)
    os.environ.setdefault("LADING_REGISTRY", str(FOLDER / "registry"))
    made = []
    for framework, make in (("XGBoost", xgboost), ("PyTorch", pytorch)):
        print(f"{framework}: train and pack", flush=True)
        made.append((framework, *make()))
    print("Python: pack rules with their environment", flush=True)
    rules = python()
    with serving(*(bundle for _, bundle, _, _ in made), rules) as url:
        print(f"served at {url}: {', '.join(bundle.manifest.name for _, bundle, _, _ in made)}, payments")
        for framework, bundle, rows, own in made:
            with lading.Client(url, model=bundle.manifest.name) as client:
                served = np.array(client.predict(rows).values)
            worst = np.abs(served - own).max()
            print(f"{framework}: {len(rows)} rows that packing never saw, largest difference {worst:.1e}")
            if worst > 1e-4:
                sys.exit("demo-frameworks: that is not what the framework answers")
        asked = [{"amount": 120.0, "country": "KR"}, {"amount": 250.0, "country": "DE"}]
        with lading.Client(url, model="payments") as client:
            labels = client.predict(asked, ["label"]).outputs["label"]
        print(f"Python: {asked} -> {labels}")
        if labels != ["pay", "ask"]:
            sys.exit("demo-frameworks: those are not the rules")
    print("three frameworks, one server, every answer held against its framework")


if __name__ == "__main__":
    main()
