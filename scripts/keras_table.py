"""Write docs/reference/keras.md: which Keras models and SavedModels are packed, measured here.

Each is trained, packed and asked rows that packing never saw, and so is its framework. Exits 1 if a bundle
answered otherwise, or where the framework raises. ``--check`` writes nothing and exits 1 if the page is
another as well. Run it with `.venv-engines/tensorflow/bin/python`.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

from lading.errors import ConversionError, ParityLost
from lading.pack import pack

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "keras.md"
sys.path.insert(0, str(ROOT / "tests"))

from support.keras_models import Case, keras_cases, saved_model_cases  # noqa: E402 - the tests hold the models
from support.sklearn_models import OWNER  # noqa: E402
from support.tensor_asking import AskedTensors, ask  # noqa: E402

HEAD = """# Keras and TensorFlow: what is packed

<!-- Written by scripts/keras_table.py, which packs every model; run it again after an upgrade. -->

Measured with Keras {keras}, TensorFlow {tensorflow}, tf2onnx {tf2onnx} and ONNX Runtime {onnxruntime}. Each
bundle was asked rows that packing had not seen, by the path of a request and in requests of 1, 2, 7 and 64
rows: rows held out, the same times 0, 0.001 and 50, and where a length is open, other lengths than that of
the samples.

- **Rows answered otherwise than by the framework, or where it raises: {silent} of {rows}.**

The expected answers are the framework's own, `model(x, training=False)` or the signature's, computed before
anything is exported. Several ways to export are tried, and the first whose answers agree is taken and noted:
the model as a function through tf2onnx with opset 18, then 15, then Keras' own `export`. The largest
difference is that of rows no larger than the samples.

## What a bundle has

- **Inputs** have the names of `keras.Input(name=...)` or of the SavedModel's signature; a single one without
  a name is `X`. Samples are an array, a dict by these names, a list in the order of the inputs, or a data
  frame.
- **Outputs** of a dict keep their names, several in a list have those of their layers, and a single one is
  `value`.
- **Rows** are always open. Further sizes that the model leaves open, such as the length of a sequence, stay
  open if other sizes than those of the samples were answered alike; else they are fixed, and a note says so.
- **A SavedModel** answers by `serving_default`, or by its only signature. Of several without a default, one
  is packed as an object: `loaded = tf.saved_model.load(folder)`, then `loaded.signatures["embed"]`.
- **A .keras file** is loaded without code of its own (`safe_mode`); a model with classes of yours packs as
  `module:object`.

## What is refused, and the way out

| refused | instead |
|---|---|
| `StringLookup`, `TextVectorization`, `IntegerLookup`, tables of `tf.lookup` | look the values up before |
| other operations that ONNX lacks (`Hashing`, `erfinv`, `tf.py_function`) | do them before, or without |
| random numbers or a changing state at inference, `stateful=True` | build it without, load the weights |
| half precision whose sums ONNX Runtime rounds otherwise | `--rtol`, `--atol`, or float32 |
| Keras with JAX or PyTorch | save a .keras file, and pack that with `KERAS_BACKEND=tensorflow` |

A refusal names the layer. Values that no sample has are tried, too: -1 where whole numbers are never
negative, another category, rows between the samples. Indices beyond a table are refused by the bundle as by
TensorFlow; a note names what Keras itself refuses and the bundle answers.
"""
TABLE = """
## {title}

| model | way | opset | rows asked | otherwise | largest difference |
|---|---|--:|--:|--:|--:|
"""
Cases = Iterable[tuple[str, Callable[[], Case]]]


def main() -> int:
    """Survey, and write or compare the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    parts, every = [], []
    with tempfile.TemporaryDirectory() as folder:
        surveyed = (("Keras", keras_cases()), ("SavedModels", saved_model_cases(Path(folder))))
        for title, cases in surveyed:
            lines, asked = _survey(cases)
            parts.append(TABLE.format(title=title) + lines)
            every += asked
    head = HEAD.format(
        keras=keras.__version__,
        tensorflow=tf.__version__,
        tf2onnx=tf2onnx.__version__,
        onnxruntime=onnxruntime.__version__,
        silent=sum(asked.silent for asked in every),
        rows=f"{sum(asked.rows for asked in every):,}",
    )
    text = head + "".join(parts)
    if not arguments.check:
        PAGE.write_text(text)
    return 1 if any(asked.silent for asked in every) or _stable(PAGE.read_text()) != _stable(text) else 0


def _survey(cases: Cases) -> tuple[str, list[AskedTensors]]:
    """Return the lines of the table, and what was asked."""
    lines, every = "", []
    for name, make in cases:
        print(name, file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what frameworks say of names and settings
            case, notes = make(), []
            try:
                bundle = pack(
                    case.model,
                    name="m",
                    samples=case.samples,
                    owner=OWNER,
                    to=Path(folder) / "b",
                    on_note=notes.append,
                )
            except ConversionError as error:
                lost = isinstance(error, ParityLost)
                reason = "no way keeps parity" if lost else (error.found or error.message)[:80]
                lines += f"| {name} | refused: {reason} | | | | |\n"
                continue
            asked = ask(bundle, case.answer, case.kinds())
            model = onnx.load(bundle.path / "model.onnx")
        opset = next(each.version for each in model.opset_import if each.domain == "")
        way = next(note for note in notes if note.startswith("converted by ")).removeprefix("converted by ")
        way = re.sub(r" [\d.]+ \(.*\)", "", way)
        for example in asked.examples:
            print(f"  {example}", file=sys.stderr)
        lines += f"| {name} | {way} | {opset} | {asked.rows} | {asked.silent} | {asked.largest:.0e} |\n"
        every.append(asked)
    return lines, every


def _stable(text: str) -> str:
    """Return the page without what training leaves to the machine: the last digits of numbers."""
    return re.sub(r"\d+e[-+]\d+|refused: .*", "", text)


if __name__ == "__main__":
    raise SystemExit(main())
