"""What Amazon SageMaker asks of a container: ``/ping``, and answers as CSV where CSV is accepted.

``/invocations`` itself is in `invocations`, because MLflow has it too. Hosting many models behind one
endpoint (``/models``) is not spoken: that path lists lading's own.
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
    """Answer 200 and nothing more when every model answers; raises `ModelNotReady` when one does not."""
    plane.readiness.require()
    return Response(b"", content_type=b"text/plain; charset=utf-8")


def wants_csv(accept: bytes) -> bool:
    """Return whether a client accepts CSV rather than JSON: whichever it names first."""
    for one in accept.decode("latin-1").split(","):
        kind = one.partition(";")[0].strip().lower()
        if kind == "text/csv":
            return True
        if kind in ("application/json", "*/*", "application/*"):
            return False
    return False


def csv_response(outputs: Sequence[Array]) -> Response:
    """Write outputs side by side, one line a row, no header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = max((len(array) for array in outputs if array.ndim), default=1)
    if not rows or any(array.size % rows for array in outputs):
        found = ", ".join(f"`{list(array.shape)}`" for array in outputs)
        raise BodyInvalid("answer as CSV", expected="outputs with one value or more a row", found=found)
    # Shortest text that reads back as the same number: str() of a numpy scalar gives it for each width.
    columns = [array.reshape(rows, -1).astype(str if array.dtype != object else object) for array in outputs]
    for at in range(rows):
        writer.writerow([cell for column in columns for cell in column[at]])
    return Response(text.getvalue().encode(), content_type=b"text/csv; charset=utf-8")
