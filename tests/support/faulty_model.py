"""A model in Python that misbehaves in one way for each of a few values, and never for those below 1,000.

It is packed as a module of its own, so it imports nothing from its folder.
"""

import os
import time
from typing import Any

import numpy as np

import lading

KEPT: list[np.ndarray] = []


def misbehave(value: float) -> None:
    if value == 1001:
        os._exit(3)
    if value == 1002:
        os.kill(os.getpid(), 9)
    if value == 1003:
        time.sleep(600)
    if value == 1004:
        while True:
            KEPT.append(np.ones(10_000_000))
    if value == 1005:
        for _ in range(1000):
            print("x" * 100_000)
    if value == 1006 and os.fork() == 0:
        time.sleep(600)
    if value == 1007:
        raise ValueError("a value that it does not like")


class Faulty(lading.Model):
    """Doubles a column, and does to some values what no model should."""

    def predict(self, inputs: Any) -> dict[str, np.ndarray]:
        for value in inputs["X"][:, 0].tolist():
            misbehave(value)
        return {"value": inputs["X"][:, 0] * 2}
