"""``lading pack``: a trained model becomes a bundle with its proof."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import FILE, MetricType, json_option

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.parity import Tolerance


@click.command(
    "pack",
    short_help="Pack a trained model into a bundle with its proof.",
    cls=Command,
    examples=(
        (
            "lading pack iris_svc.onnx --name iris --labels label.json \\\n"
            "  --owner ml@example.com --purpose classification"
        ),
        (
            "lading pack train:pipeline --name churn --samples train.csv \\\n"
            "  --owner ml@example.com --purpose classification --metric accuracy=0.97"
        ),
    ),
)
@click.argument("model")
@click.option("--name", required=True, help="Name of the model: `[a-z0-9._-]`, 63 characters at most.")
@click.option("--owner", required=True, help="Who answers for it, such as ml@example.com.")
@click.option(
    "--purpose",
    default="",
    help="What it does: classification, regression, embedding, …  [default: as the model tells]",
)
@click.option("--samples", type=FILE, help="Input rows that prove it: .npz, .npy, .csv, .parquet or .json.")
@click.option(
    "--labels", type=FILE, help='JSON file that names the classes: `["setosa", …]` or `{"0": "setosa"}`.'
)
@click.option(
    "--metric",
    "metrics",
    type=MetricType(),
    multiple=True,
    help="A metric of training, such as accuracy=0.97; may be repeated.",
)
@click.option("--description", default="", help="One sentence for those who find it later.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "float64"]),
    default="auto",
    show_default=True,
    help="Type of float inputs; auto takes float32 if it keeps parity, else float64.",
)
@click.option(
    "--rtol",
    type=click.FloatRange(min=0),
    metavar="NUMBER",
    help="Relative tolerance of outputs.  [default: 1e-4]",
)
@click.option(
    "--atol",
    type=click.FloatRange(min=0),
    metavar="NUMBER",
    help="Absolute tolerance of outputs.  [default: 1e-5]",
)
@click.option(
    "--max-label-flips",
    type=click.IntRange(min=0),
    metavar="N",
    help="Rows that may change their label.  [default: 0]",
)
@click.option(
    "--golden",
    type=click.Choice(["rows", "synthetic"]),
    default="rows",
    show_default=True,
    help="Store real rows, or draw rows from their distribution.",
)
@click.option(
    "-o",
    "--output",
    "to",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Directory to write.  [default: ./NAME.bundle]",
)
@json_option
def pack(model: str, **options: Any) -> None:
    """Pack MODEL, an .onnx file or a Python object given as `module:object`.

    The golden samples are answered by the framework itself and kept in the bundle; a model that answers
    otherwise after conversion is refused. Prints the bundle's directory.
    """
    _check_model(model)
    from lading.pack import pack as pack_model

    as_json = options.pop("as_json")
    options["metrics"] = dict(options["metrics"])
    options["tolerance"] = _tolerance(options)
    with printing.busy(f"packing {model}"):
        bundle = pack_model(model, **options, on_note=_note)
    _say(bundle, drawn=options["samples"] is None)
    if as_json:
        printing.as_json(_summary(bundle))
    else:
        printing.data(str(bundle.path))


def _check_model(model: str) -> None:
    is_object = ":" in model and not model.endswith(".onnx")
    if not is_object and not Path(model).is_file():
        expected = "an .onnx file or `module:object`"
        raise click.BadParameter(
            f"expected {expected}, found `{model}`, which does not exist", param_hint="MODEL"
        )
    here = str(Path.cwd())
    if is_object and here not in sys.path:
        # As `python -m` does: the module is usually a script beside the data.
        sys.path.insert(0, here)


def _tolerance(options: dict[str, Any]) -> Tolerance | None:
    from lading.parity import Tolerance

    named = {name: options.pop(name) for name in ("rtol", "atol", "max_label_flips")}
    given = {name: value for name, value in named.items() if value is not None}
    return Tolerance(**given) if given else None


def _note(sentence: str) -> None:
    printing.remark(f"note: {sentence}")


def _say(bundle: Bundle, *, drawn: bool) -> None:
    manifest = bundle.manifest
    kinds = sorted({tensor.dtype for tensor in manifest.signature.inputs})
    count = printing.count(bundle.samples().rows, "row")
    printing.remark(f"packed `{manifest.name}` ({manifest.purpose}), inputs {', '.join(kinds)}")
    if drawn:
        why = "drawn at random, because no `--samples` were given"
        printing.remark(f"golden samples: {count} {why}; give real rows for a proof that means something")
    else:
        printing.remark(f"golden samples: {count}, answered by {manifest.expected_from}")
    printing.remark(f"digest: {bundle.digest}")
    where = shlex.quote(str(bundle.path))
    printing.remark(f"next: lading verify {where} && lading push {where}")


def _summary(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "path": str(bundle.path),
        "name": manifest.name,
        "digest": bundle.digest,
        "golden_rows": bundle.samples().rows,
        "expected_from": manifest.expected_from,
        "tolerance": manifest.tolerance,
        "signature": manifest.signature,
    }
