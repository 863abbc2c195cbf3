"""Verify models that are mutations of ONNX's node tests, for a given time, and report how verifying ended.

``python scripts/mutate_models.py --seconds 600``. Each must end with evidence within the limit: a crash or an
endless run is a check that failed. Exits with 1, and keeps the bundles in ``--keep``, if one did not.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from lading.errors import LadingError
from lading.verify import verify
from support.onnx_node_cases import NodeCase, node_cases

EXTREMES = (0, -1, 1, -2, 2**31 - 1, -(2**31), 2**62, -(2**63), 7, 1000003)
GRACE_S = 20.0
"""How much longer than its limit verifying may take: processes that start and end on a busy machine."""


def mutated(case: NodeCase, chance: random.Random) -> NodeCase:
    """Return the case with one to three changes of attributes, weights, shapes or golden inputs."""
    model = onnx.load_from_string(case.model)
    inputs = {name: array.copy() for name, array in (case.inputs or {}).items()}
    for _ in range(chance.randint(1, 3)):
        chance.choice((_attribute, _attribute, _size, _initializer, _input))(model, inputs, chance)
    return dataclasses.replace(case, model=model.SerializeToString(), inputs=inputs)


def _attribute(model: Any, _inputs: dict[str, Any], chance: random.Random) -> None:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    if not attributes:
        return
    attribute = chance.choice(attributes)
    if attribute.type == onnx.AttributeProto.INT:
        attribute.i = chance.choice(EXTREMES)
    elif attribute.type == onnx.AttributeProto.INTS and attribute.ints:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(EXTREMES)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = chance.choice((0.0, -1.0, 1e30, float("inf"), float("nan")))


def _size(model: Any, _inputs: dict[str, Any], chance: random.Random) -> None:
    values = [
        value for value in (*model.graph.input, *model.graph.output) if value.type.tensor_type.shape.dim
    ]
    if values:
        dims = chance.choice(values).type.tensor_type.shape.dim
        dims[chance.randrange(len(dims))].dim_param = f"free{chance.randrange(3)}"


def _initializer(model: Any, _inputs: dict[str, Any], chance: random.Random) -> None:
    whole = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT64]
    if whole:
        tensor = chance.choice(whole)
        array = onnx.numpy_helper.to_array(tensor).copy()
        if array.size:
            array.reshape(-1)[chance.randrange(array.size)] = chance.choice(EXTREMES)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def _input(_model: Any, inputs: dict[str, Any], chance: random.Random) -> None:
    whole = [array for array in inputs.values() if array.dtype.kind in "iu" and array.size]
    if whole:
        array = chance.choice(whole)
        fits = [value for value in EXTREMES if _fits(array.dtype, value)]
        array.reshape(-1)[chance.randrange(array.size)] = chance.choice(fits)


def _fits(dtype: Any, value: int) -> bool:
    bits = 8 * dtype.itemsize
    return -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) if dtype.kind == "i" else 0 <= value < 2**bits


def outcome(case: NodeCase, folder: Path, limit_s: float) -> str:
    """Verify one case, and return in a few words how that ended; ``BAD: …`` is a fault of lading."""
    began = time.monotonic()
    try:
        evidence = verify(case.bundle(folder), timeout_s=limit_s)
    except LadingError as error:
        return f"no bundle: {type(error).__name__}"
    except Exception as error:  # noqa: BLE001 - what the campaign looks for
        return f"BAD: {type(error).__name__}: {error}"
    took_s = time.monotonic() - began
    if took_s > limit_s + GRACE_S:
        return f"BAD: {took_s:.0f} s"
    if evidence.holds:
        return "holds"
    sentence = evidence.failures[0].found
    if "ended with SIG" in sentence:
        return f"`{evidence.failures[0].name}`: {sentence.partition('ended with ')[2].partition(' in ')[0]}"
    if "had not ended" in sentence:
        return f"`{evidence.failures[0].name}`: had not ended"
    return f"`{evidence.failures[0].name}` fails" if sentence else "BAD: a failure without a sentence"


def main() -> int:
    """Run the campaign and print a table of how verifying ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--limit-s", type=float, default=10, help="limit of each verification")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("mutated"))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    cases = [case for case in node_cases() if not case.reason]
    until = time.monotonic() + options.seconds
    counts: Counter[str] = Counter()

    def work(seed: int) -> None:
        own = random.Random(seed)
        while time.monotonic() < until:
            case = mutated(own.choice(cases), own)
            with tempfile.TemporaryDirectory() as folder:
                ending = outcome(case, Path(folder) / "b", options.limit_s)
                counts[ending] += 1
                if ending.startswith("BAD"):
                    shutil.copytree(folder, options.keep / str(sum(counts.values())), dirs_exist_ok=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work, [chance.randrange(2**32) for _ in range(options.jobs)]))
    sys.stdout.write(f"{sum(counts.values())} models in {options.seconds:g} s\n")
    for ending, count in counts.most_common():
        sys.stdout.write(f"{count:7,}  {ending}\n")
    return int(any(ending.startswith("BAD") for ending in counts))


if __name__ == "__main__":
    sys.exit(main())
