"""Write docs/reference/pytorch.md: which modules of PyTorch are packed, measured here.

Run it with `.venv-engines/torch/bin/python`. Each module is packed and asked calls that packing never saw, by
the runtime that serves. Exits 1 if a bundle answered otherwise than its module. ``--check`` writes nothing
and exits 1 if the page is another as well. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
import warnings
from pathlib import Path

import onnxruntime
import onnxscript
import torch

from lading.errors import ConversionError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "pytorch.md"
sys.path.insert(0, str(ROOT / "tests"))

from support.torch_models import Asked, pack_and_ask, torch_cases  # noqa: E402 - the tests hold the modules

HEAD = """# PyTorch: what is packed

<!-- Written by scripts/torch_table.py, which packs every module; run it again after an upgrade. -->

Measured with PyTorch {torch}, onnxscript {onnxscript} and ONNX Runtime {onnxruntime}. Each bundle was asked
calls that packing had not seen, in batches of 1, 7 and 64 rows and, where a length is open, of 1, 5, 12 and
33 steps. The largest difference is of any number from the module's own, rounded up to a power of ten.

- **Calls answered otherwise than by the module: {silent} of {calls}, with {rows:,} rows.**

| module | exporter | opset | rows | largest difference | verdict |
|---|---|--:|--:|--:|---|
"""
TAIL = """
## How a module is packed

The expected outputs come from the module itself, on the CPU, without gradients, its outermost part in eval
mode, before anything is exported. Afterwards it is as it was: training flags, buffers, random numbers. Two
exporters are tried in this order, and each graph must keep parity: `torch.onnx.export(dynamo=True)`, then
tracing (`dynamo=False`), which is refused wherever a value became a number of Python's. Parity is asked of
all samples, of rows drawn between them, of 1, 2 and 7 rows, of every open size made smaller and larger, and
beside each size at which the exporter saw a branch. The ONNX file names its exporter, and holds no path.

**Samples** are an array for the only input, a dict by the names of `forward`, or a tuple; tensors and arrays
of numpy alike. Floats of numpy get the dtype of the module. A list of such calls may have several lengths:
sizes that differ between them are open, and those that always agree are one. Without such a list, name them:
`open_axes={{"tokens": {{1: "length"}}}}` (`--open-axis tokens=1:length`). Rows are on axis 0 of every input;
`batch_axis` says where else.

**Outputs** are called `value` if there is one, as in the dict, dataclass or named tuple that `forward`
returns, or `output_0`, `output_1`, … With `labels` the only output of a classifier becomes `label` and
`probabilities`, or `scores` where its rows do not sum to 1.

## What is refused

| found | way out |
|---|---|
| control flow that depends on values | `torch.where` |
| a branch on a size | a module without it: the graph would have one side |
| other answers in a second run (`F.dropout(training=True)`) | `nn.Dropout`, or random numbers as an input |
| a buffer that `forward` changes | the state as an output and an input |
| padding that `nn.TransformerEncoder` answers with zeros in eval mode alone | `enable_nested_tensor=False` |
| an operator that ONNX lacks, by its name | other operators, or the step before the model |
| numbers, texts or None as inputs | tensors, or a default of `forward` |
| complex outputs | `torch.view_as_real` |
| bfloat16, where ONNX Runtime has no operator | `module.float()` |
| more than 1.5 GB of weights | a smaller model, or `module.half()` |
| a ScriptModule, a `state_dict`, `.pt` and `.pth` files | the module, by `module:object` |

Negative positions are refused in requests where the module refuses them: `Gather` of ONNX counts them from
the end. A module whose rows depend on each other is packed so that its requests are never merged.

**Files of programs** (`.pt2`, by `torch.export.save`) are read as far as they hold tensors, sizes and
operators. `torch.export.load` would run code that a file has as a pickle, as a size or as an operator: such
files are refused unread.
"""


def main() -> int:
    """Survey, and write or compare the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    lines, every = _survey()
    head = HEAD.format(
        torch=torch.__version__.partition("+")[0],
        onnxscript=onnxscript.__version__,
        onnxruntime=onnxruntime.__version__,
        silent=sum(asked.otherwise for asked in every),
        calls=sum(asked.calls for asked in every),
        rows=sum(asked.rows for asked in every),
    )
    text = head + lines + TAIL.format()
    if not arguments.check:
        PAGE.write_text(text)
    return 1 if any(asked.otherwise for asked in every) or PAGE.read_text() != text else 0


def _survey() -> tuple[str, list[Asked]]:
    """Return the lines of the table, and what was asked."""
    lines, every = "", []
    for name, make in torch_cases():
        print(name, file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                _, asked = pack_and_ask(make(), Path(folder))
            except ConversionError as error:
                lines += f"| {name} | | | | | refused: {error.message[:120]} |\n"
                continue
        route = re.search(r"\((dynamo=\w+)\).* opset (\d+)", asked.route)
        assert route is not None
        verdict = "packed" if not asked.otherwise else f"**{asked.otherwise} calls otherwise**"
        lines += (
            f"| {name} | `{route[1]}` | {route[2]} | {asked.rows} | {power(asked.largest)} | {verdict} |\n"
        )
        every.append(asked)
    return lines, every


def power(difference: float) -> str:
    """Return a difference rounded up to a power of ten."""
    # Its digits depend on the processor.
    return f"1e{math.ceil(math.log10(difference))}" if difference else "0"


if __name__ == "__main__":
    raise SystemExit(main())
