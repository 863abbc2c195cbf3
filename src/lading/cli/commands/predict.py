"""``lading predict``: predictions for the rows of a file, by a server or by a bundle in this process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.exit_codes import HintedUsageError
from lading.cli.ui.parameters import (
    BundleType,
    allow_option,
    complete_files,
    json_option,
    open_named,
    registry_option,
)
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.cli.ui.input_rows import Rows
    from lading.client import Prediction
    from lading.signature import Array, Signature


# An address without its scheme; `iris:8000` is a version.
_ADDRESS = re.compile(r"(localhost|\d+(\.\d+){3}|\[[\da-f:]+\])(:\d+)?(/|$)")


class TargetType(BundleType):
    """A server's address, a bundle's directory or a reference."""

    name = "target"

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Ref | Path | str:
        """Return an address as it is; parse anything else as a `BundleType`."""
        # Before the check for directories: an address contains slashes.
        if isinstance(value, str) and value.startswith(("http://", "https://")):
            return value
        if isinstance(value, str) and _ADDRESS.match(value):
            hint = f"a server's address begins with `http://`: `http://{value}`"
            raise HintedUsageError(f"`{value}`: expected a URL, a directory or a reference", hint, ctx)
        return super().convert(value, param, ctx)


@click.command(
    "predict",
    short_help="Predict for the rows of a file.",
    cls=Command,
    examples=(
        "lading predict http://127.0.0.1:8000 --input rows.json",
        "lading predict iris:1 --input rows.csv --label",
        "echo '[[5.1, 3.5, 1.4, 0.2]]' | lading predict iris.bundle --input -",
    ),
)
@click.argument("target", type=TargetType(), metavar="URL|DIR|REF")
@click.option(
    "-i",
    "--input",
    "source",
    metavar="FILE",
    shell_complete=complete_files,
    help="File of rows: .json, .csv, .npz, .npy or .parquet; `-` reads any of these from stdin.",
)
@click.option("--sample", is_flag=True, help="Predict for the bundle's golden samples (DIR and REF only).")
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="NAME",
    help="Output to print instead of the primary one; repeatable.",
)
@click.option("--label", is_flag=True, help="Print the label of each row.")
@click.option(
    "--model",
    metavar="REF",
    help="Model to use, such as `iris:3`.  [default: the server's default model]",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="NUMBER",
    default=30.0,
    show_default=True,
    help="Seconds to wait for the server.",
)
@allow_option
@registry_option
@json_option
def predict(target: Ref | Path | str, **options: Any) -> None:
    """Print predictions, one line of JSON per row.

    With a URL, that server predicts. A bundle from a directory or the registry is loaded here without a
    server, after its golden samples were replayed. JSON is a list of rows (lists, or objects by column) or
    {"data": rows}; the first line of a CSV may name the columns; an .npz holds one array per input. Columns
    of a .csv or .parquet that are no input, such as an index, are left out and named on stderr.
    """
    _check_options(target, options)
    answer = _predict_remotely(target, options) if isinstance(target, str) else _predict_here(target, options)
    if options["as_json"]:
        printing.as_json(answer, indent=0)
    elif "outputs" in answer:
        # The answer has one list per output; each line printed is one row of all of them.
        columns: dict[str, list[Any]] = answer["outputs"]
        for values in zip(*columns.values(), strict=True):
            printing.as_json(dict(zip(columns, values, strict=True)), indent=0)
    else:
        for value in answer["prediction"]:
            printing.as_json(value, indent=0)


def _check_options(target: Ref | Path | str, options: dict[str, Any]) -> None:
    remote = isinstance(target, str)
    # Exactly one source of rows.
    if (options["source"] is None) == (not options["sample"]):
        raise click.UsageError("expected `--input FILE` or `--sample`, and not both")
    if remote and options["sample"]:
        raise click.UsageError("`--sample` needs a directory or reference, found a URL")
    if not remote and options["model"]:
        raise click.UsageError("`--model` needs a URL, found a directory or reference")
    if options["label"] and options["outputs"]:
        raise click.UsageError("expected `--label` or `--output`, and not both")


def _predict_remotely(url: str, options: dict[str, Any]) -> dict[str, Any]:
    from lading.cli.ui.input_rows import read_rows
    from lading.client import Client

    with Client(url, model=options["model"], timeout_s=options["timeout_s"]) as client:
        rows = read_rows(options["source"], client.signature)
        if options["label"]:
            prediction = client.predict_label(rows.data)
        else:
            prediction = client.predict(rows.data, list(options["outputs"]) or None)
    return _json(prediction, prediction.model)


def _predict_here(target: Ref | Path, options: dict[str, Any]) -> dict[str, Any]:
    from lading.bundle.requests import request_signature
    from lading.cli.ui.input_rows import read_rows
    from lading.runtime.python.host import this_host
    from lading.trial import answer

    bundle, name = open_named(target, options["registry"])
    signature = request_signature(bundle.manifest, bundle.samples())
    if options["sample"]:
        inputs = bundle.samples().inputs
    else:
        inputs = _cast(read_rows(options["source"], lambda: signature), signature)
    with printing.spinner(f"loading {target}"):
        python = this_host(options["allow"])
        prediction = answer(bundle, inputs, outputs=options["outputs"], label=options["label"], python=python)
    return _json(prediction, name)


def _json(prediction: Prediction, model: str) -> dict[str, Any]:
    answer = {"model": model, "digest": prediction.digest}
    if prediction.outputs:
        return {**answer, "outputs": prediction.outputs}
    return {**answer, "prediction": prediction.values}


def _cast(rows: Rows, signature: Signature) -> dict[str, Array]:
    if rows.arrays is not None:
        return signature.cast(rows.arrays)
    return signature.cast_rows(rows.data)
