"""A model that is loaded and can answer: everything that requests read of it.

Nothing in it changes but what is learned of its runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lading.bundle import Bundle, Samples
from lading.bundle.requests import request_signature
from lading.profile import Profile
from lading.runtime import Runtime
from lading.server.inference.inline_runs import InlineRuns
from lading.server.inference.request_memory import COUNTED_BYTES
from lading.signature import Signature


@dataclass(frozen=True, slots=True)
class Cost:
    """How long one run takes, measured at warm-up: seconds for one row, and for each further row.

    ``rows`` is the most rows that were measured.
    """

    first_row_s: float
    further_row_s: float
    rows: int = 1

    def of(self, rows: int) -> float:
        """Estimate the seconds that a run of `rows` rows takes."""
        return self.first_row_s + self.further_row_s * (rows - 1)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """An opened bundle and its running model. ``cost`` is zero until it has been measured.

    ``inline_runs`` says which runs may stay in the thread of their caller: none until the cost is known.

    ``headers``, ``header_block`` and ``metadata`` name the bundle in answers: for HTTP as pairs and as bytes
    on the wire, for gRPC as metadata. ``never_empty`` names the inputs that must have a value: of a size that
    the model leaves open no golden sample has shown 0. ``plans`` is where protocols keep what they prepare
    once for a model. ``small_rows`` is how many rows have an answer too small to be counted, 0 if their sizes
    are open. ``profile`` is that of the reference data, None if the bundle has none.
    """

    bundle: Bundle
    runtime: Runtime
    signature: Signature
    labels: Mapping[str, str]
    samples: Samples
    headers: tuple[tuple[bytes, bytes], ...]
    header_block: bytes
    metadata: tuple[tuple[str, str], ...]
    inline_runs: InlineRuns
    never_empty: tuple[str, ...] = ()
    cost: Cost = Cost(0.0, 0.0)
    plans: dict[Any, Any] = field(default_factory=dict)
    small_rows: int = 0
    profile: Profile | None = None

    @classmethod
    def of(cls, bundle: Bundle, runtime: Runtime, label: str) -> LoadedModel:
        """Make the model that answers under the name `label` (``iris:3``) with what `bundle` holds."""
        samples = bundle.samples()
        signature = request_signature(bundle.manifest, samples)
        headers = ((b"x-lading-model", label.encode()), (b"x-lading-digest", bundle.digest.encode()))
        return cls(
            bundle=bundle,
            runtime=runtime,
            signature=signature,
            labels=bundle.manifest.labels,
            samples=samples,
            headers=headers,
            header_block=b"".join(b"%b: %b\r\n" % header for header in headers),
            metadata=tuple((name.decode(), value.decode()) for name, value in headers),
            inline_runs=InlineRuns(signature, learns=False),
            never_empty=tuple(_never_empty(signature, samples)),
            small_rows=_small_rows(signature),
            profile=bundle.profile,
        )


def _small_rows(signature: Signature) -> int:
    """Return how many rows have outputs of fewer bytes than are counted."""
    row_bytes = 0
    for tensor in signature.outputs:
        sizes = tensor.shape[1:] if signature.batched else tensor.shape
        if tensor.dtype == "string" or any(isinstance(size, str) for size in sizes):
            return 0
        row_bytes += math.prod(map(int, sizes)) * np.dtype(tensor.dtype).itemsize
    return COUNTED_BYTES // max(1, row_bytes)


def _never_empty(signature: Signature, samples: Samples) -> Iterator[str]:
    """Return the inputs that may be empty by their shape, and are not in any golden sample."""
    for tensor in signature.inputs:
        sizes = tensor.shape[1:] if signature.batched else tensor.shape
        golden = samples.inputs.get(tensor.name)
        if any(isinstance(size, str) for size in sizes) and (golden is None or golden.size):
            yield tensor.name
