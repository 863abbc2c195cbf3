"""Models of transformers with random weights and real tokenizers: by name, both of them, and texts."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordPieceTrainer

from lading.bundle import Bundle
from lading.pack import pack
from lading.pack.text_drawing import draw_texts
from lading.parity import compare
from lading.runtime.open import load_runtime
from lading.runtime.python.host import PythonHost
from support.nasty_texts import GREEK_TEXTS, OTHER_TEXTS, TRAINING_TEXTS
from support.torch_models import OWNER, Asked

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
LENGTH = 64
SAMPLES = [text for text in TRAINING_TEXTS if text.isascii() and text]
_DRAWN = 90
_BATCH_ROWS = 24
_ALONE = 30
_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


@dataclass(frozen=True)
class MadeTexts:
    """A model and its tokenizer, and what it is packed with; ``pairs`` are two texts in a row."""

    model: Any
    tokenizer: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    pairs: bool = False

    def rows(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return texts as the bundle takes them."""
        arrays = {"text": np.array(texts, dtype=object)}
        return arrays | ({"text_pair": np.roll(arrays["text"], 3)} if self.pairs else {})


def held_out() -> list[str]:
    """Return texts that packing never sees: of many scripts, empty, very long and drawn."""
    drawn = draw_texts((), np.array(TRAINING_TEXTS, dtype=object), _DRAWN, np.random.default_rng(7))
    long = ["word " * 500, "한국어 텍스트와 café 東京 😀 " * 80, "x" * 3000]
    return [*OTHER_TEXTS, *GREEK_TEXTS, *long, *drawn]


def pack_texts(made: MadeTexts, folder: Path, **settings: Any) -> tuple[Bundle, list[str]]:
    """Pack a model with its tokenizer; return the bundle and the notes."""
    notes: list[str] = []
    stated = {"name": "m", "owner": OWNER, "to": folder / "b", "on_note": notes.append, **made.settings}
    bundle = pack(made.model, tokenizer=made.tokenizer, samples=made.rows(SAMPLES), **{**stated, **settings})
    return bundle, notes


def ask_texts(made: MadeTexts, bundle: Bundle) -> Asked:
    """Ask a bundle by the runtime that serves: texts among others, and alone."""
    asked = Asked()
    rows = made.rows(held_out())
    expected = own_answers(made, rows, most_tokens(bundle))
    count = len(rows["text"])
    calls = [range(at, min(at + _BATCH_ROWS, count)) for at in range(0, count, _BATCH_ROWS)]
    calls += [range(at, at + 1) for at in range(_ALONE)]
    runtime = load_runtime(bundle, python=PythonHost(allow="code"))
    try:
        for call in calls:
            answers = runtime.run({name: array[call.start : call.stop] for name, array in rows.items()})
            own = {name: array[call.start : call.stop] for name, array in expected.items()}
            own = {name: array.astype(answers[name].dtype) for name, array in own.items()}
            outputs = bundle.manifest.signature.outputs
            parity = compare(outputs, own, answers, bundle.manifest.tolerance)
            asked.calls += 1
            asked.rows += len(call)
            asked.otherwise += not parity.holds
            asked.largest = max(asked.largest, parity.max_abs_error)
    finally:
        runtime.close()
    return asked


def most_tokens(bundle: Bundle) -> int:
    """Return to how many tokens a bundle cuts texts."""
    settings = json.loads((bundle.path / "files" / "texts.json").read_text())
    return int(settings["max_length"])


def own_answers(made: MadeTexts, rows: Mapping[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    """Return what transformers answers to each text by itself, without lading's own way to ask it."""
    made.model.eval()
    answers = [
        _own_answer(made, [str(array[at]) for array in rows.values()], length)
        for at in range(len(rows["text"]))
    ]
    return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}


def _own_answer(made: MadeTexts, texts: list[str], length: int) -> dict[str, np.ndarray]:
    tokenizer, model = made.tokenizer, made.model
    # As a batch of one: by itself, an empty second text would be none (transformers 5.24).
    batch = tokenizer(*([text] for text in texts), truncation=True, max_length=length)
    tokens = {name: ids for name, (ids,) in batch.items()}
    if not tokens["input_ids"]:  # of a text without a token, which transformers itself does not answer
        tokens = {"input_ids": [tokenizer.pad_token_id], "attention_mask": [1]}
    takes = inspect.signature(model.forward).parameters
    arrays = {name: torch.tensor([ids]) for name, ids in tokens.items() if name in takes}
    with torch.no_grad():
        answer = model(**arrays)
    if isinstance(model, TwoHeads):
        return {name: values[0].numpy() for name, values in answer.items()}
    if "last_hidden_state" in answer:
        return {"embedding": _pooled(answer.last_hidden_state[0], made.settings).numpy()}
    logits = answer.logits[0]
    kind = model.config.problem_type
    if kind == "regression":
        return {"value": logits[0].numpy()}
    if kind == "multi_label_classification":
        return {"probabilities": torch.sigmoid(logits).numpy()}
    return {"label": logits.argmax().numpy(), "probabilities": torch.softmax(logits, 0).numpy()}


def _pooled(steps: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
    ways = {"mean": steps.mean(0), "cls": steps[0], "last": steps[-1]}
    pooled = ways[settings.get("pooling", "mean")]
    return pooled / pooled.norm() if settings.get("normalize") else pooled


@cache
def word_pieces() -> Any:
    """Return a tokenizer as BERT has it: lower case without accents, word pieces, types of pairs."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    _train(tokenizer, WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=LENGTH,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def bytes_bpe(**settings: Any) -> Any:
    """Return a tokenizer as RoBERTa and GPT-2 have it: pairs of bytes, of which every text consists."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=500, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    _train(tokenizer, trainer)
    if not settings.pop("bare", False):
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, **settings)


@cache
def unigrams() -> Any:
    """Return a tokenizer as T5 and XLM-R have it: the likeliest pieces of a normalised text."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = UnigramTrainer(vocab_size=200, unk_token="<unk>", special_tokens=_SPECIAL, show_progress=False)
    _train(tokenizer, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 2)]
    )
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _train(tokenizer: Tokenizer, trainer: Any) -> None:
    tokenizer.train_from_iterator(TRAINING_TEXTS * 3, trainer)


def spread(model: Any) -> Any:
    """Return the model with weights so large that texts differ in their answers."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(6)
    return model


def made(name: str, config: Any, tokenizer: Any, *, pairs: bool = False, **settings: Any) -> MadeTexts:
    """Return a seeded model of the class `name` with its tokenizer."""
    torch.manual_seed(0)
    return MadeTexts(spread(getattr(transformers, name)(config)), tokenizer, settings, pairs)


def bert(**settings: Any) -> Any:
    """Return the configuration of a small BERT."""
    return transformers.BertConfig(
        vocab_size=400, max_position_embeddings=LENGTH, **{**SIZES, "num_labels": 3, **settings}
    )


def text_cases() -> Iterator[tuple[str, str, Callable[[], MadeTexts]]]:
    """Return models with what they are for, and what their tokenizer is."""
    kind = "ForSequenceClassification"
    names = {0: "good", 1: "bad", 2: "neither"}
    yield (
        f"Bert{kind}",
        "WordPiece",
        lambda: made(f"Bert{kind}", bert(id2label=names, label2id={}), word_pieces()),
    )
    yield (
        f"Bert{kind}, pairs of texts",
        "WordPiece",
        lambda: made(f"Bert{kind}", bert(num_labels=2), word_pieces(), pairs=True),
    )
    several = "multi_label_classification"
    yield (
        f"Bert{kind}, several labels",
        "WordPiece",
        lambda: made(f"Bert{kind}", bert(problem_type=several), word_pieces()),
    )
    yield (
        "BertModel, mean, normalised",
        "WordPiece",
        lambda: made("BertModel", bert(), word_pieces(), normalize=True),
    )
    yield (
        "BertModel, first token",
        "WordPiece",
        lambda: made("BertModel", bert(), word_pieces(), pooling="cls"),
    )
    yield "a module of one's own around BertModel", "WordPiece", _two_heads
    yield f"DistilBert{kind}, regression", "WordPiece", _distilbert
    yield f"Roberta{kind}", "byte-level BPE", _roberta
    yield f"GPT2{kind}", "byte-level BPE", _gpt2
    yield "LlamaModel, last token, padding left", "byte-level BPE", _llama
    yield "T5EncoderModel, mean", "Unigram", _t5
    yield f"XLMRoberta{kind}", "Unigram", _xlm_roberta


class TwoHeads(torch.nn.Module):
    """What people write around an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = transformers.BertModel(bert())
        self.head = torch.nn.Linear(32, 1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        first = self.encoder(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        return {"score": self.head(first)[:, 0], "vector": first}


def _two_heads() -> MadeTexts:
    torch.manual_seed(0)
    return MadeTexts(spread(TwoHeads()), word_pieces())


def _distilbert() -> MadeTexts:
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": LENGTH}
    config = transformers.DistilBertConfig(vocab_size=400, num_labels=1, problem_type="regression", **sizes)
    return made("DistilBertForSequenceClassification", config, word_pieces())


def _roberta() -> MadeTexts:
    # Its positions begin behind the number of the padding: 66 of them are for 64 tokens.
    config = transformers.RobertaConfig(
        vocab_size=500, max_position_embeddings=LENGTH + 2, pad_token_id=1, type_vocab_size=1, **SIZES
    )
    return made("RobertaForSequenceClassification", config, bytes_bpe(model_max_length=LENGTH))


def _gpt2() -> MadeTexts:
    config = transformers.GPT2Config(
        vocab_size=500, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=2, num_labels=3, pad_token_id=1
    )
    return made("GPT2ForSequenceClassification", config, bytes_bpe(bare=True))


def _llama() -> MadeTexts:
    config = transformers.LlamaConfig(vocab_size=500, max_position_embeddings=LENGTH, **SIZES)
    return made("LlamaModel", config, bytes_bpe(padding_side="left"), pooling="last")


def _t5() -> MadeTexts:
    config = transformers.T5Config(vocab_size=200, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    torch.manual_seed(0)
    # Its attention is not divided by the square root of the width, so that its weights are large already.
    return MadeTexts(transformers.T5EncoderModel(config), unigrams())


def _xlm_roberta() -> MadeTexts:
    config = transformers.XLMRobertaConfig(
        vocab_size=200, max_position_embeddings=LENGTH + 2, pad_token_id=1, type_vocab_size=1, **SIZES
    )
    return made("XLMRobertaForSequenceClassification", config, unigrams())
