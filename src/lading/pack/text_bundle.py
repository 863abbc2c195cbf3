"""A model of transformers with its tokenizer becomes a bundle: a step that makes tokens, and a core as ONNX.

The golden outputs are those of the tokenizer and the model themselves, each text without padding. A bundle
answers them alone and among others, where shorter texts are filled up, or it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle import Bundle
from lading.bundle.formats.v2 import CODE, FILES
from lading.convert import Table
from lading.convert import graph as onnx_graph
from lading.convert.transformers import TextModel
from lading.errors import ConverterFailed, ParityLost
from lading.pack import sampling, text_rows, tokenized_texts
from lading.pack.code_files import imports_of
from lading.pack.converted_bundle import convert
from lading.pack.facts import Facts, with_reference
from lading.pack.own_steps import Arrays, Steps
from lading.pack.parity_search import near_ties
from lading.pack.probe_rows import gather_probe_rows
from lading.pack.probe_texts import TEXT, long_text, probe_rows, read_texts, with_probes
from lading.pack.proof import Proof
from lading.pack.python_bundle import Environment, golden, write_with_environment
from lading.pack.python_proof import Behaviour, laid_out
from lading.pack.python_tensors import input_tensors
from lading.pack.reference import reference_table
from lading.pack.stepped_bundle import Whole
from lading.parity import Parity, Tolerance, compare
from lading.signature import Array, Signature

_CODE_FILE = Path(tokenized_texts.__file__)
_ENTRY = f"{_CODE_FILE.stem}:{tokenized_texts.TokenizedTexts.__qualname__}"
_DRAWN = 64
_MOST_ANSWERED = 500  # texts of reference data: as long as all of the proof
_MOST_TOKENS = 40_000  # of samples: a BERT of 110 million weights runs them in a minute or two


def pack_texts(
    trained: TextModel,
    samples: Any,
    facts: Facts,
    place: Path,
    environment: Environment,
    dtypes: tuple[str, ...],
) -> Bundle:
    """Prove `trained` with its tokenizer in front, and write the bundle to `place`.

    Raises `ConversionError`, `RequirementsRefused`, `EnvironmentFailed`.
    """
    facts.step(f"asking {trained.title} itself")
    rows = read_texts(samples, trained.title)
    reference = reference_table(facts.reference, partial(read_texts, title=trained.title))
    facts = with_reference(facts, reference, rows, most=_MOST_ANSWERED)
    table = _texts_to_try(trained, rows, facts)
    files: dict[str, bytes | Path] = {f"{FILES}/{name}": data for name, data in trained.files().items()}
    files[f"{CODE}/{_CODE_FILE.name}"] = _CODE_FILE.read_bytes()
    with laid_out(files) as folder:
        steps = Steps(tokenized_texts.TokenizedTexts, ("preprocess",), folder / FILES)
        whole = WholeTexts(trained.core, steps, texts=trained)
        # Before anything is exported: later, other tokens would only be seen as other answers.
        lengths = whole.checked_lengths(table)
        few = table.take(text_rows.rows_to_convert(lengths))
        rows = whole.core_table(few, whole.preprocessed(few))
        trained.core.batches = list(whole.batches_to_convert(table, lengths))
        probe = gather_probe_rows(trained.core, rows, facts.note)
        proof = convert(trained.core, probe, facts, dtypes)
        whole = whole.around(proof.conversion)
        # Of what `tokenizers` requires it imports nothing: the hub's client is for downloads.
        model = replace(whole.model(_ENTRY, files, imports_of(files)), dependencies=False)
        behaviour = whole.behaviour_of(table, lengths, proof)
        return write_with_environment(model, behaviour, facts, place, environment)


def _texts_to_try(trained: TextModel, table: Table, facts: Facts) -> Table:
    """Return samples, as many as can be asked, and the texts of other scripts."""
    if facts.synthetic:
        # The samples show which words to draw.
        table = sampling.synthetic(table, _DRAWN, trained.title)
    lengths = _lengths(trained, table)
    kept = text_rows.within(lengths, _MOST_TOKENS, np.random.default_rng(sampling.SEED))
    if len(kept) < table.rows:
        facts.note(f"{len(kept)} of {table.rows} samples were asked, chosen by a seeded draw")

    def count(text: str) -> int:
        return len(trained.uncut({name: [text] for name in table.arrays}))

    tried = with_probes(table.take(kept), long_text(count, trained.max_length))
    facts.note(
        f"{tried.rows - len(kept)} texts of lading's own were asked, too: accents, Hangul, Chinese and"
        f" Japanese, emoji, an empty text, and one of more than {trained.max_length} tokens, which is cut"
    )
    return tried


def _lengths(trained: TextModel, table: Table) -> Array:
    return np.array([len(row["input_ids"]) for row in trained.tokens(table.arrays)])


@dataclass(frozen=True)
class WholeTexts(Whole):
    """A core with its tokenizer in front; ``texts`` are both as transformers has them."""

    texts: TextModel | None = None

    @property
    def title(self) -> str:
        """The name in messages."""
        return self.trained.title

    @property
    def _texts(self) -> TextModel:
        assert self.texts is not None
        return self.texts

    def framework_outputs(self, table: Table) -> dict[str, Array]:
        """Return the answers of the model to texts, by its own tokenizer."""
        answers = self._texts.answers(table.arrays)
        outputs = self._core.signature.outputs
        return {
            tensor.name: np.asarray(answers[tensor.name]).astype(tensor.numpy_dtype) for tensor in outputs
        }

    def checked_lengths(self, table: Table) -> Array:
        """Return how many tokens each text has; raises `ParityLost` if the step makes others."""
        rows = self._texts.tokens(table.arrays)
        for at, row in enumerate(rows):
            own = self.preprocessed(table.take(np.array([at])))
            if any(own[name][0].tolist() != row[name] for name in row):
                text = str(table.arrays[TEXT][at])
                raise ParityLost(
                    f"the tokenizer of `{self.title}`",
                    expected=f"the tokens of transformers for `{text[:40]}`: {row['input_ids'][:12]}",
                    found=f"{own['input_ids'][0].tolist()[:12]} by its `tokenizer.json`",
                    hint="a tokenizer whose class does more than its file packs as a step of your own",
                )
        return np.array([len(row["input_ids"]) for row in rows])

    def batches_to_convert(self, table: Table, lengths: Array) -> Iterator[tuple[str, dict[str, Array]]]:
        """Return tokens of texts together, each with what they are."""
        for index in text_rows.batches_to_convert(lengths):
            tokens = self.preprocessed(table.take(index))
            rows, length = tokens["input_ids"].shape
            yield f"{rows} texts of up to {length} tokens", tokens

    def behaviour_of(self, table: Table, lengths: Array, proof: Proof) -> Behaviour:
        """Compare all texts, alone and among others, with transformers; return how the whole behaves.

        Raises `ParityLost`, `ConverterFailed`.
        """
        outputs, tolerance = self._core.signature.outputs, proof.tolerance
        inputs, arrays = input_tensors(table, self.title)
        expected = self.framework_outputs(table)
        self._check_alone(table, lengths, expected, tolerance)
        answers = self._in_batches(table)
        # There a label says nothing, and would differ on the next machine.
        ties = near_ties(expected, answers, tolerance)
        kept = np.flatnonzero(~ties)
        if not compare(outputs, _rows(expected, kept), _rows(answers, kept), tolerance).holds:
            raise self._depends_on_batch(table, kept, expected, answers, tolerance)
        always = np.flatnonzero(np.isin(kept, probe_rows(table)))
        kept = kept[text_rows.golden_rows(lengths[kept], always)]
        independent = self._core.signature.independent_rows
        signature = Signature(inputs, outputs, independent_rows=independent)
        samples = golden(table.take(kept), signature, _rows(arrays, kept), _rows(expected, kept), tolerance)
        return Behaviour(signature, samples, tolerance)

    def _check_alone(self, table: Table, lengths: Array, expected: Arrays, tolerance: Tolerance) -> None:
        """Compare a few texts of several lengths without padding; raises `ParityLost`."""
        for row in text_rows.rows_alone(lengths):
            index = np.array([row])
            answers, own = self._run(table.take(index)), _rows(expected, index)
            parity = compare(self._core.signature.outputs, own, answers, tolerance)
            if not parity.holds and not near_ties(own, answers, tolerance).any():
                raise ParityLost(
                    f"`{self.title}`",
                    expected=f"the answer of {self.trained.expected_from}",
                    found=self._deviation(table, row, parity),
                )

    def _depends_on_batch(
        self, table: Table, rows: Array, expected: Arrays, answers: Arrays, tolerance: Tolerance
    ) -> ConverterFailed:
        """Return the error of a model that answers a text otherwise where it is filled up."""
        for row in rows:
            index = np.array([row])
            parity = compare(
                self._core.signature.outputs, _rows(expected, index), _rows(answers, index), tolerance
            )
            if not parity.holds:
                break
        return ConverterFailed(
            f"`{self.title}`",
            expected="the same answer to a text alone and among longer ones, where it is filled up",
            found=self._deviation(table, row, parity),
            hint='fill up on the right (`tokenizer.padding_side = "right"`), and let'
            " `model.config.pad_token_id` be that of the tokenizer",
        )

    def _deviation(self, table: Table, row: int, parity: Parity) -> str:
        text = str(table.arrays[TEXT][row])
        output = f"`{parity.worst[0].output}`" if parity.worst else "an output"
        return f"{output} that differs by up to {parity.max_abs_error:.2g} for `{text[:40]}`"

    def _in_batches(self, table: Table) -> dict[str, Array]:
        # In their order, so that short texts are beside long ones.
        parts = [
            self._run(table.take(np.arange(at, min(at + text_rows.BATCH_ROWS, table.rows))))
            for at in range(0, table.rows, text_rows.BATCH_ROWS)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run(self, table: Table) -> dict[str, Array]:
        return onnx_graph.evaluator(self.trained.title, self._core.model)(self.values(table))


def _rows(arrays: Arrays, index: Array) -> dict[str, Array]:
    return {name: array[index] for name, array in arrays.items()}
