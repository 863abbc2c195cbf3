"""Windows of live columns as servers would report them, drawn from a seed."""

from __future__ import annotations

import numpy as np

from lading.profile import Profile
from lading.profile.encoding import digest as digest_of
from lading.profile.live import ColumnWindow, LiveCounts
from lading.profile.measure import measure
from lading.registry import Registry
from lading.signature import Signature, Tensor

SIGNATURE = Signature(
    inputs=(Tensor(name="X", dtype="float32", shape=("batch", 2), columns=("age", "income")),),
    outputs=(
        Tensor(name="label", dtype="string", shape=("batch",)),
        Tensor(name="probabilities", dtype="float32", shape=("batch", 2)),
    ),
)
DIGEST = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
HOUR_S = 3600.0
BEGIN = 1_699_999_200.0  # A whole hour.


def draw(rows: int, seed: int, *, shift: float = 0.0):
    """Return inputs and outputs of random rows; `shift` moves the age, in standard deviations."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((rows, 2)).astype(np.float32)
    values[:, 0] += shift
    first = 1 / (1 + np.exp(-2 * values[:, 1]))
    probabilities = np.stack([first, 1 - first], 1).astype(np.float32)
    labels = np.array(["yes", "no"], object)[probabilities.argmax(1)]
    return {"X": values}, {"label": labels, "probabilities": probabilities}


def reference(rows: int = 5000, *, labelled: bool = False) -> Profile:
    inputs, outputs = draw(rows, 0)
    right = None
    if labelled:
        right = np.random.default_rng(1).random(rows) < outputs["probabilities"].max(1)
    return measure(SIGNATURE, inputs, outputs, right=right)


def window(profile: Profile, at: float, seed: int, rows: int = 300, **changes) -> ColumnWindow:
    """Return the window of `rows` random rows that began at `at`; `shift` moves the age."""
    shift = changes.pop("shift", 0.0)
    live = LiveCounts(profile, SIGNATURE)
    live.add(*draw(rows, seed, shift=shift), rows)
    values = {
        "name": "iris",
        "version": 1,
        "digest": DIGEST,
        "release": 1,
        "replica": "replica-1",
        "profile": digest_of(profile),
        "at": at,
        "seconds": 30.0,
        "rows": rows,
        "seen": 10 * rows,
        "counts": live.drain(),
        "id": f"{at}-{seed}-{changes.get('version', 1)}",
    }
    return ColumnWindow(**{**values, **changes})


def report(registry: Registry, profile: Profile, windows: list[ColumnWindow]) -> None:
    """Store windows as a server does."""
    from lading.profile.encoding import encode

    registry.monitoring.add_profile(digest_of(profile), encode(profile))
    registry.monitoring.add_windows(windows)
