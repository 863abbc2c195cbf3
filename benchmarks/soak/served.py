"""The server under soak: two workers that follow the releases of a registry with five models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np

from lading.bundle import Bundle
from lading.registry import Registry
from lading.release import Plan
from lading.signature import Signature
from lading.verify import verify
from support.bundles import linear_bundle
from support.crashing_models import long_on_large_values
from support.onnx_graphs import bundle_of, graph, identity, node, tensor
from support.server_process import ServerProcess, serving

FLAGS = ("--workers", "2", "--grpc-port", "0", "--deadline-s", "5", "--client-timeout-s", "5")
"""Deadlines of 5 s and not 30, so that what they end is ended many times."""


@contextlib.contextmanager
def soaked(folder: Path) -> Iterator[ServerProcess]:
    """Run the server until the block ends."""
    registry = str(folder / "registry")
    with Registry.open(registry) as book:
        for bundle in _bundles(folder):
            version = book.push(bundle)
            book.record(verify(bundle))
            book.releases.begin(version.name, version.version, Plan(mode="live"), actor="soak")
    environ = {"LADING_REGISTRY": registry, "LADING_CACHE": str(folder / "cache")}
    with serving(flags=FLAGS, environ=environ, ready=False) as server:
        server.wait_until(lambda: httpx.get(f"{server.url}/health", timeout=20).status_code == 200, 120)
        yield server


def _bundles(folder: Path) -> Iterator[Bundle]:
    """Write the model of the good client, and four that hostile ones like."""
    yield linear_bundle(folder / "iris", "iris")
    row = ("float32", "batch", "length")
    free = Signature((tensor("X", *row),), (tensor("Y", *row),))
    yield bundle_of(folder / "free", identity(*row), free, {"X": np.ones((2, 4), "float32")}, name="free")
    texts = Signature((tensor("X", "string", "batch"),), (tensor("count", "int64", "batch"),))
    split = graph([node("StringSplit", "X", "parts count")], texts.inputs, texts.outputs, opset=20, ir=9)
    words = {"X": np.array(["Seoul", "a b"], object)}
    yield bundle_of(folder / "text", split, texts, words, name="text")
    row = ("float32", "batch", 4)
    loop = Signature((tensor("X", *row),), (tensor("Y", *row),))
    ones = {"X": np.ones((2, 4), "float32")}
    yield bundle_of(folder / "endless", long_on_large_values(), loop, ones, name="endless")
    steps = Signature((tensor("X", "float32", "steps", 1, 2),), (tensor("Y", "float32", 1, 1, 5),))
    weights = {"W": np.ones((1, 15, 2), "float32"), "R": np.ones((1, 15, 5), "float32")}
    gru = graph(
        [node("GRU", "X W R", "all Y", hidden_size=5)], steps.inputs, steps.outputs, constants=weights
    )
    samples = {"X": np.ones((3, 1, 2), "float32")}
    yield bundle_of(folder / "sequence", gru, steps, samples, name="sequence")
