"""Write docs/reference/transformers.md: which models of transformers are packed with their tokenizer.

Run it with `.venv-engines/torch/bin/python`. Each model is packed and asked texts that packing never saw, by
the runtime that serves. Exits 1 if a bundle answered otherwise than transformers. ``--check`` writes nothing
and exits 1 if the page is another as well. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import onnxruntime
import tokenizers
import torch
import transformers

from lading.errors import ConversionError
from lading.pack.probe_texts import PROBES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "transformers.md"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from torch_table import power  # noqa: E402 - the tests hold the models

from support.torch_models import Asked  # noqa: E402
from support.transformers_models import (  # noqa: E402
    ask_texts,
    held_out,
    most_tokens,
    pack_texts,
    text_cases,
)

HEAD = """# Hugging Face transformers: what is packed

<!-- Written by scripts/transformers_table.py, which packs every model; run it again after an upgrade. -->

Measured with transformers {transformers}, tokenizers {tokenizers}, PyTorch {torch} and ONNX Runtime
{onnxruntime}. The models have random weights, and tokenizers that were trained on texts of several
scripts. Each bundle was asked {texts} texts that packing had not seen, 24 together and the first 30
alone, too: accents in both forms, Hangul, Chinese and Japanese, emoji, Cyrillic, Greek, Arabic, empty
ones, and some of more tokens than the model takes. They are compared with what the tokenizer and the
model themselves answer to each text alone. The largest difference is of any number, probabilities and
not labels alone, rounded up to a power of ten, 1e-6 at least.

- **Calls answered otherwise than by transformers: {silent} of {calls}, with {rows:,} texts.**

| model | tokenizer | output | tokens | rows compared | largest difference | verdict |
|---|---|---|--:|--:|--:|---|
"""
TAIL = """
## How a model is packed

| what | output |
|---|---|
| `…ForSequenceClassification` | `label`, named by `config.id2label`, and `probabilities` (softmax) |
| several labels, by `problem_type="multi_label_classification"`, or one | `probabilities` (sigmoid) |
| `problem_type="regression"` | `value` |
| an encoder, such as `BertModel` or `T5EncoderModel` | `embedding` |
| a module of your own around a model | what its `forward(input_ids, attention_mask)` returns |

An embedding is the mean of the vectors of the tokens, without the padding. `pooling="cls"` takes that of the
first token and `pooling="last"` that of the last one; `normalize=True` gives it the length 1. Whatever a
model returns has one size for texts of every length.

The tokenizer becomes a step in front of the model (`pack/tokenized_texts.py`, copied into the bundle, with
its `tokenizer.json`), which runs in a process of its own with `tokenizers` and numpy alone; the model
becomes ONNX, as a [module of PyTorch](pytorch.md), and runs in the server. Neither transformers nor PyTorch
is needed there. A bundle with such a step holds code, so that servers take it with `--allow code`.

**Texts** are the input `text`, and `text_pair` if samples are pairs; an empty second text is one all the
same. They are cut to the length of the model, on the side that the tokenizer cuts: the lesser of
`tokenizer.model_max_length` and the positions that the model has, 512 tokens if neither says so. A text
without a token of its own, such as an empty one of GPT-2, is one token of padding.

**Proof.** Tokens and answers come from transformers itself, each text without padding. The bundle must make
the same tokens and answer the same, alone and with 15 others, where shorter texts are filled up: a row's
answer does not depend on its neighbours. Besides the samples, {probes} texts of lading's own are always
asked, with accents, Hangul, Chinese and Japanese, emoji, an empty text and one that is too long; all but
the last are golden samples, too. Samples of more than 40,000 tokens together are a seeded choice.

**Folders** that `save_pretrained` wrote pack by their path. Weights are read from safetensors and never
from a pickle, the class comes from transformers and from no file of the folder, and nothing is downloaded.
Pooling, normalisation and length of a folder of sentence-transformers are those that it states; modules
other than `Transformer`, `Pooling` and `Normalize`, and prompts before every text, are refused.

## What is refused

| found | way out |
|---|---|
| a tokenizer in Python code, without a `tokenizer.json` | `AutoTokenizer`, or `PreTrainedTokenizerFast` |
| a tokenizer whose class does more than its file | [steps][steps] of your own |
| a tokenizer without a token for padding | `tokenizer.pad_token = tokenizer.eos_token` |
| a model that generates texts | its encoder, or one that was trained to classify |
| a model of another task: tokens, answers in a text, masks | a module of your own around it |
| an encoder with a decoder | the encoder: `T5EncoderModel`, `model.get_encoder()` |
| other answers among longer texts, as of GPT-2 padded on the left | `tokenizer.padding_side = "right"` |
| a folder with weights in a pickle, or without all weights of its class | `save_pretrained` |
| a folder with a class of its own | the objects: `module:model --tokenizer module:tokenizer` |

[steps]: ../guides/first-model-python.md#steps-around-a-model
"""


def main() -> int:
    """Survey, and write or compare the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    lines, every = _survey()
    head = HEAD.format(
        transformers=transformers.__version__,
        tokenizers=tokenizers.__version__,
        torch=torch.__version__.partition("+")[0],
        onnxruntime=onnxruntime.__version__,
        texts=len(held_out()),
        silent=sum(asked.otherwise for asked in every),
        calls=sum(asked.calls for asked in every),
        rows=sum(asked.rows for asked in every),
    )
    text = head + lines + TAIL.format(probes=len(PROBES) + 1)
    if not arguments.check:
        PAGE.write_text(text)
    return 1 if any(asked.otherwise for asked in every) or PAGE.read_text() != text else 0


def _survey() -> tuple[str, list[Asked]]:
    """Return the lines of the table, and what was asked."""
    lines, every = "", []
    for name, tokenizer, make in text_cases():
        print(name, file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            own = make()
            try:
                bundle, _ = pack_texts(own, Path(folder))
            except ConversionError as error:
                lines += f"| {name} | {tokenizer} | | | | | refused: {error.message[:120]} |\n"
                continue
            asked = ask_texts(own, bundle)
            outputs = ", ".join(f"`{tensor.name}`" for tensor in bundle.manifest.signature.outputs)
            length = most_tokens(bundle)
        verdict = "packed" if not asked.otherwise else f"**{asked.otherwise} calls otherwise**"
        counts = f"{length} | {asked.rows} | {power(max(asked.largest, 1e-6))}"
        lines += f"| {name} | {tokenizer} | {outputs} | {counts} | {verdict} |\n"
        every.append(asked)
    return lines, every


if __name__ == "__main__":
    raise SystemExit(main())
