"""``lading pack``: a trained model becomes a bundle that carries its proof."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.exit_codes import HintedUsageError
from lading.cli.ui.isolated import isolate
from lading.cli.ui.parameters import FILE, MetricType, complete_files, json_option, timeout_option
from lading.cli.ui.profile_view import profile_line
from lading.cli.ui.working_call import GuidingCommand

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.parity import Tolerance

_ACTIONS = (
    ("convert/graph.py:evaluator", "loading the ONNX model"),
    ("convert/graph.py:run", "running the ONNX model"),
    ("pack/mlflow", "reading the folder of MLflow"),
    ("pack/sources", "reading model and samples"),
    ("pack/parity_search", "comparing answers"),
    ("pack/refusals", "looking for the reason"),
    ("pack/golden_rows", "choosing golden rows"),
    ("pack/probe_rows", "running the framework"),
    ("runtime/", "replaying the golden samples"),
    ("convert/", "converting"),
    ("bundle/", "writing the bundle"),
    ("pack/", "packing"),
)
"""What is done in which part of lading, for a sentence about where it ended."""


@click.command(
    "pack",
    short_help="Pack a trained model into a bundle with its proof.",
    cls=GuidingCommand,
    fillers={"model": "train:model", "name": "{name}", "owner": "ml@example.com"},
    options=("--samples", "--allow-pickle", "--runtime", "--trust-type", "--golden", "--overwrite"),
    examples=(
        (
            "lading pack iris_svc.onnx --name iris --labels label.json \\\n"
            "  --owner ml@example.com --purpose classification"
        ),
        (
            "lading pack train:pipeline --name churn --samples train.csv \\\n"
            "  --owner ml@example.com --purpose classification --metric accuracy=0.97"
        ),
        "lading pack mlflow:artifacts/model --name churn --owner ml@example.com",
    ),
)
@click.argument("model", shell_complete=complete_files)
@click.option("--name", required=True, help="Name of the model: `[a-z0-9._-]`, at most 63 characters.")
@click.option("--owner", required=True, help="Who is responsible for the model, such as ml@example.com.")
@click.option(
    "--purpose",
    default="",
    help="Its task: classification, regression, embedding, …  [default: derived from the model]",
)
@click.option("--samples", type=FILE, help="Input rows for the proof: .npz, .npy, .csv, .parquet or .json.")
@click.option(
    "--reference",
    type=FILE,
    help="Training data, for the profile that requests are compared with; files as for --samples."
    "  [default: the samples]",
)
@click.option(
    "--reference-labels",
    metavar="FILE|COLUMN",
    help="Labels of the rows of --reference: a file, or the name of its label column.",
)
@click.option(
    "--checks", type=FILE, help="TOML file of what values of requests have to be, a table for each column."
)
@click.option(
    "--slice",
    "slices",
    multiple=True,
    metavar="COLUMN",
    help="Column by whose values metrics are also given; repeatable.",
)
@click.option("--no-profile", is_flag=True, help="Keep no statistics of columns in the bundle.")
@click.option(
    "--labels",
    type=FILE,
    help='JSON file of class names: `["setosa", …]` or `{"0": "setosa"}`.',
)
@click.option(
    "--metric",
    "metrics",
    type=MetricType(),
    multiple=True,
    help="Metric from training, such as accuracy=0.97; repeatable.",
)
@click.option("--description", default="", help="One sentence for people who come across the model later.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "float64"]),
    default="auto",
    show_default=True,
    help="Type of float inputs; auto is float32 if that keeps parity, else float64.",
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
    help="Number of rows whose label may change.  [default: 0]",
)
@click.option(
    "--golden",
    type=click.Choice(["rows", "synthetic"]),
    default="rows",
    show_default=True,
    help="Store the rows themselves, or rows drawn from their distribution.",
)
@click.option(
    "--batch-axis",
    "batch_axis",
    multiple=True,
    metavar="none|INPUT=AXIS",
    help="Axis of the rows of an input, or `none`; repeatable.  [default: 0 where all share it]",
)
@click.option(
    "--open-axis",
    "open_axes",
    multiple=True,
    metavar="INPUT=AXIS[:NAME]",
    help="Axis of a PyTorch module's input, beside the rows, whose size a request chooses; repeatable.",
)
@click.option(
    "--runtime",
    type=click.Choice(["auto", "onnx", "python"]),
    default="auto",
    show_default=True,
    help="What runs it; auto is ONNX Runtime, and Python in an environment of its own for code.",
)
@click.option(
    "--tokenizer",
    metavar="MODULE:OBJECT",
    help="Tokenizer of a transformers model, which then takes texts; a folder or pipeline has its own.",
)
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "last"]),
    help="How the vectors of the tokens become one of the text, for encoders.  [default: mean]",
)
@click.option("--normalize", is_flag=True, help="Give that vector the length 1.")
@click.option(
    "--steps",
    metavar="MODULE:CLASS",
    help="`lading.Model` whose `preprocess` and `postprocess` run around the converted model.",
)
@click.option(
    "--file",
    "files",
    type=FILE,
    multiple=True,
    help="File that the `load` of the model or its steps reads; repeatable.",
)
@click.option("--code", type=FILE, multiple=True, help="Further module of the model's code; repeatable.")
@click.option(
    "--requirement",
    "requirements",
    multiple=True,
    metavar="NAME[==VERSION]",
    help="Package that the model needs, or a file of them; repeatable.  [default: those that it imports]",
)
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of wheels to build the environment from, offline.  [default: pip's package index]",
)
@click.option(
    "--trust-type",
    "trust_types",
    multiple=True,
    metavar="MODULE.NAME",
    help="Type in the model that is neither of scikit-learn nor of numpy; repeatable.",
)
@click.option(
    "--allow-pickle",
    is_flag=True,
    help="Read a pickle, and store the model as one if it runs in Python: both run whatever the file says.",
)
@click.option(
    "-o",
    "--output",
    "to",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Directory to write.  [default: ./NAME.bundle]",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle, once the new one holds.")
@timeout_option(3600.0, "Seconds that packing may take in all.")
@json_option
def pack(model: str, timeout_s: float, **options: Any) -> None:
    """Pack MODEL: a file, `mlflow:FOLDER`, or an estimator, class or function as `module:object`.

    A file is an .onnx, .pt2 or .keras file, the folder of a SavedModel or of a transformers model and its
    tokenizer, or one that a booster saved: .ubj or .json of XGBoost, .txt of LightGBM, .cbm or .json of
    CatBoost. `mlflow:FOLDER` is a folder that MLflow saved: its flavor is converted, or the model runs in
    Python in the environment that it asks for, and its input example is the samples. `models:/…` and
    `runs:/…` are asked of `MLFLOW_TRACKING_URI`.

    The framework itself computes the answers to the golden samples, which the bundle keeps. A model whose
    answers differ after conversion is refused. All of it runs in a process of its own: a model that crashes
    or never ends is refused, too. Prints the bundle's directory.
    """
    _check_model(model)
    isolate(f"packing `{model}`", _ACTIONS, timeout_s=timeout_s)
    from lading.pack import pack as pack_model
    from lading.pack.mlflow_sources import is_mlflow

    as_json = options.pop("as_json")
    # click collects the values of a repeatable option as a tuple of pairs.
    options["metrics"] = dict(options["metrics"])
    options["tolerance"] = _tolerance(options)
    options["requirements"] = _requirements(options["requirements"])
    options["profile"] = not options.pop("no_profile")
    with printing.steps(f"packing {model}") as on_step:
        bundle = pack_model(model, **options, on_note=_print_note, on_step=on_step)
    # A model of MLflow brings rows along.
    _print_summary(bundle, drawn=options["samples"] is None and not is_mlflow(model))
    if as_json:
        printing.as_json(_json(bundle))
    else:
        printing.data(str(bundle.path))


def _check_model(model: str) -> None:
    # The path of a file may contain a colon, too.
    # Of a SavedModel, and of what `save_pretrained` of transformers wrote.
    is_folder = any((Path(model) / name).is_file() for name in ("saved_model.pb", "config.json"))
    is_object = ":" in model and not model.endswith((".onnx", ".pt2", ".keras")) and not is_folder
    if not is_object and not Path(model).is_file() and not is_folder:
        expected = "an .onnx, .pt2 or .keras file, the folder of a SavedModel, or `module:object`"
        has_neither = "a folder without `saved_model.pb` and `config.json`"
        reason = has_neither if Path(model).is_dir() else "which does not exist"
        if (Path(model) / "MLmodel").is_file():
            sentence = f"`{model}`: expected {expected}, found a folder of MLflow"
            raise HintedUsageError(sentence, f"a model of MLflow is named `mlflow:{model}`")
        raise click.BadParameter(f"expected {expected}, found `{model}`, {reason}", param_hint="MODEL")
    if not is_object and model.endswith(".py"):
        hint = f"`{Path(model).stem}:NAME` is the object NAME in it"
        raise HintedUsageError(
            f"`{model}`: expected an .onnx or .pt2 file, or `module:object`, found a Python file", hint
        )
    here = str(Path.cwd())
    if is_object and here not in sys.path:
        # As `python -m` does, because the module is usually a script in the current folder.
        sys.path.insert(0, here)


def _requirements(stated: tuple[str, ...]) -> str | Path | list[str]:
    if not stated:
        return "auto"
    # A file of requirements, as pip takes it by `-r`.
    is_file = len(stated) == 1 and Path(stated[0]).is_file()
    return Path(stated[0]) if is_file else list(stated)


def _tolerance(options: dict[str, Any]) -> Tolerance | None:
    from lading.parity import Tolerance

    limits = {name: options.pop(name) for name in ("rtol", "atol", "max_label_flips")}
    # Only what was on the command line: the defaults are those of `Tolerance`.
    chosen = {name: value for name, value in limits.items() if value is not None}
    return Tolerance(**chosen) if chosen else None


def _print_note(sentence: str) -> None:
    printing.info(f"note: {sentence}")


def _print_summary(bundle: Bundle, *, drawn: bool) -> None:
    manifest = bundle.manifest
    dtypes = sorted({tensor.dtype for tensor in manifest.signature.inputs})
    rows = printing.plural(bundle.samples().rows, "row")
    printing.info(f"packed `{manifest.name}` ({manifest.purpose}), inputs {', '.join(dtypes)}")
    if drawn:
        reason = "drawn at random, because there are no `--samples`"
        printing.info(f"golden samples: {rows} {reason}; pass real rows for a meaningful proof")
    else:
        printing.info(f"golden samples: {rows}, answered by {manifest.expected_from}")
    if (profile := bundle.profile) is not None:
        printing.info(f"profile: {profile_line(profile)}")
    if manifest.slices:
        printing.info(f"slices: {', '.join(manifest.slices)}")
    printing.info(f"digest: {bundle.digest}")
    # Quoted, so that the line can be pasted whatever the path contains.
    path = shlex.quote(str(bundle.path))
    allow = printing.allow_flag(manifest.executes)
    printing.info(f"next: lading verify {path}{allow} && lading push {path}")


def _json(bundle: Bundle) -> dict[str, Any]:
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
