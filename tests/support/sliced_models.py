"""A model with a slice by region, its log, and labels by which one region may be worse than the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from lading.log_frames import FrameReader, Labels, encode_frame
from lading.signature import Signature, Tensor
from support.predictions import LogMaker, chunk, served

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.server.observe.prediction_log import Privacy

REGIONS = ("north", "south", "east", "west")
SHARES = (0.125, 0.375, 0.25, 0.25)
"""Of the rows, by region: a small one says little in the whole."""

SIGNATURE = Signature(
    inputs=(
        Tensor(name="region", dtype="string", shape=("batch",)),
        Tensor(name="amount", dtype="float32", shape=("batch",)),
    ),
    outputs=(Tensor(name="label", dtype="int64", shape=("batch",)),),
)
LABELS = {"0": "no", "1": "yes"}


def draw(rows: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return inputs of random rows, and what the model answers: whether the amount is above zero."""
    random = np.random.default_rng(seed)
    amounts = random.standard_normal(rows).astype(np.float32)
    regions = np.array(REGIONS, object)[random.choice(len(REGIONS), rows, p=SHARES)]
    return {"region": regions, "amount": amounts}, {"label": (amounts > 0).astype(np.int64)}


def sliced_bundle(path: Path, *, slices: Sequence[str] = ("region",), name: str = "iris") -> Bundle:
    """Write a bundle of the model with its profile, measured on 4,000 rows of which nine in ten are right."""
    from onnx import TensorProto, helper

    from lading.bundle import Samples, add_profile, write_bundle
    from lading.profile.encoding import encode
    from lading.profile.measure import measure
    from support.bundles import REQUIREMENTS, linear_draft

    nodes = [
        helper.make_node("Greater", ["amount", "zero"], ["is_more"]),
        helper.make_node("Cast", ["is_more"], ["label"], to=TensorProto.INT64),
    ]
    graph = helper.make_graph(
        nodes,
        "sign",
        [
            helper.make_tensor_value_info("region", TensorProto.STRING, ["batch"]),
            helper.make_tensor_value_info("amount", TensorProto.FLOAT, ["batch"]),
        ],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"])],
        [helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    inputs, outputs = draw(16, 7)
    draft = msgspec.structs.replace(
        linear_draft(name), signature=SIGNATURE, labels=LABELS, slices=tuple(slices)
    )
    bundle = write_bundle(
        path,
        draft,
        model=bytes(model.SerializeToString(deterministic=True)),
        samples=Samples(inputs=inputs, outputs=outputs, rows=16),
        requirements=REQUIREMENTS,
    )
    rows, answers = draw(4000, 0)
    right = np.random.default_rng(1).random(4000) < 0.9
    return add_profile(bundle, encode(measure(SIGNATURE, rows, answers, right=right)))


class SlicedLog:
    """A log of the model, written hour by hour. A request has one row."""

    def __init__(
        self, root: Path, bundle: Bundle, version: int = 1, *, privacy: Privacy | None = None
    ) -> None:
        self.maker = LogMaker(root, privacy=privacy)
        self._served = served(bundle.manifest.signature, bundle.manifest.name, version)
        self._served.digest = bundle.digest
        self._name = bundle.manifest.name
        self._reader = FrameReader()

    def add(self, at: float, rows: int, seed: int, *, side: str = "") -> tuple[list[str], Any, Any]:
        """Log requests of the hour that begins at `at`; return their ids, inputs and answers."""
        inputs, outputs = draw(rows, seed)
        ids = [f"{at:.0f}-{seed}-{number}" for number in range(rows)]
        self.maker.add(
            chunk(
                ids,
                served=self._served,
                side=side,
                release=1,
                inputs=inputs,
                outputs=outputs,
                ended_at=(at + 3500.0 * np.arange(rows) / rows).tolist(),
            )
        )
        return ids, inputs, outputs

    def label(self, ids: Sequence[str], answers: Any, right: Any, at: float) -> None:
        """Log the truth about requests, at the Unix time `at`: the answers where `right`, else the other."""
        truths = np.where(right, answers, 1 - answers)
        labels = [(LABELS[str(value)],) for value in truths.tolist()]
        frame = Labels(self._name, [each.encode() for each in ids], labels, [at] * len(ids))
        for item in self._reader.feed(encode_frame(frame)):
            self.maker.journal.add(*item, self.maker.receipts.extend)

    def hour(self, at: float, rows: int, seed: int, accuracies: Mapping[str, float] | None = None) -> None:
        """Log an hour of requests and their labels; nine in ten are right but in the regions named."""
        ids, inputs, outputs = self.add(at, rows, seed)
        shares = np.array([(accuracies or {}).get(region, 0.9) for region in inputs["region"]])
        right = np.random.default_rng([seed, 1]).random(rows) < shares
        self.label(ids, outputs["label"], right, at + 3590.0)

    def flush(self) -> None:
        """Have what was logged on the disk."""
        self.maker.flush()

    def close(self) -> None:
        """Have what was logged in Parquet files."""
        self.maker.close()
