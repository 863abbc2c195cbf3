"""What requests are held against: the signature, and what the golden samples show of it."""

from __future__ import annotations

import msgspec

from lading.bundle.manifest import Manifest
from lading.bundle.samples import Samples
from lading.signature import Signature, bound_of


def request_signature(manifest: Manifest, samples: Samples) -> Signature:
    """Return the signature of `manifest` as requests have to fit it.

    Frameworks refuse infinities, and before trees what float32 does not hold; a converted model answers
    something all the same, and computes in float32 where a framework may use float64. So where a framework
    gave the golden outputs, an input takes infinities and numbers beyond `USUAL_BOUND` only if a golden
    sample holds one, as it is with NaN. A model that came as an ONNX file takes what ONNX takes, and one that
    runs in its own framework what that takes.
    """
    signature = manifest.signature
    if manifest.runtime != "onnx" or manifest.expected_from != manifest.training.framework:
        return signature
    inputs = tuple(
        msgspec.structs.replace(tensor, bound=bound_of(samples.inputs[tensor.name]))
        if tensor.dtype.startswith("float")
        else tensor
        for tensor in signature.inputs
    )
    return msgspec.structs.replace(signature, inputs=inputs)
