"""Amazon SageMaker's contract for a container: ``/ping``, and CSV answers for clients that accept CSV.

The route ``/invocations``, which MLflow shares, is in `invocations`. SageMaker's multi-model endpoints are
not supported: their path, ``/models``, lists lading's own models.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from lading.errors import BodyInvalid
from lading.server.http.messages import Request, Response
from lading.server.inference.dataplane import DataPlane
from lading.signature import Array


def ping(_request: Request, plane: DataPlane) -> Response:
    """Answer an empty 200 when every model is ready; raises `ModelNotReady` otherwise."""
    plane.readiness.require()
    return Response(b"", content_type=b"text/plain; charset=utf-8")


def wants_csv(accept: bytes) -> bool:
    """Return whether a client prefers CSV to JSON, by the order of its ``accept`` header."""
    for item in accept.decode("latin-1").split(","):
        kind = item.partition(";")[0].strip().lower()
        if kind == "text/csv":
            return True
        if kind in ("application/json", "*/*", "application/*"):
            return False
    return False


def csv_response(outputs: Sequence[Array]) -> Response:
    """Write outputs side by side, one line per row, without a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = max((len(array) for array in outputs if array.ndim), default=1)
    if not rows or any(array.size % rows for array in outputs):
        shapes = ", ".join(f"`{list(array.shape)}`" for array in outputs)
        raise BodyInvalid("answer as CSV", expected="outputs with one value or more a row", found=shapes)
    # str() of a numpy scalar is the shortest text that reads back as the same number of the same width.
    columns = [
        array.reshape(rows, -1).astype(str if array.dtype != object else object) for array in outputs
    ]  # [rows, values per row]
    for row in range(rows):
        writer.writerow([cell for column in columns for cell in column[row]])
    return Response(text.getvalue().encode(), content_type=b"text/csv; charset=utf-8")
