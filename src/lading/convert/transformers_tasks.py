"""What a model of transformers answers to a text, as a module of PyTorch that becomes one graph.

Knows no tokenizer and exports nothing. What a model answers is what its pipeline in transformers does.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from lading.errors import ConverterFailed, InvalidSetting

Pooling = Literal["mean", "cls", "last"]
"""Ways to make one vector of those of the tokens: their mean, that of the first token, or of the last."""

_GENERATES = (
    "ForCausalLM",
    "ForConditionalGeneration",
    "LMHeadModel",
    "ForSpeechSeq2Seq",
    "DoubleHeadsModel",
)


@dataclass(frozen=True)
class Task:
    """A module that takes tokens by name, those that it ``takes``.

    ``classes`` are the names of its classes in column order. With ``labelled`` its only output becomes a
    label and probabilities, else the columns of its output have the names.
    """

    module: Any
    takes: frozenset[str]
    purpose: str
    classes: tuple[str, ...] = ()
    labelled: bool = False


def task_of(model: Any, pooling: Pooling | None, *, normalize: bool, labelled: bool) -> Task:
    """Return what `model` is for; raises `ConverterFailed` for a task that has no answer to a text alone.

    A module of one's own, around a model of transformers or without one, answers what its `forward` returns.
    Raises `InvalidSetting` for a pooling of a model that is no encoder.
    """
    encoder = isinstance(model, PreTrainedModel) and _is_encoder(model)
    if (pooling is not None or normalize) and not encoder:
        setting = "pooling" if pooling is not None else "normalize"
        expected = "a model that answers a vector for each token, such as `BertModel`"
        raise InvalidSetting(f"`{setting}`", expected=expected, found=f"`{type(model).__name__}`")
    takes = frozenset(inspect.signature(model.forward).parameters)
    if encoder and "attention_mask" not in takes:
        raise ConverterFailed(
            f"`{type(model).__name__}`",
            expected="a model that leaves padding out by its `attention_mask`",
            found="none among what its `forward` takes",
            hint="pack a module of your own around it that pools its tokens",
        )
    if encoder:
        return Task(_Embedding(model, pooling or "mean", normalize=normalize), takes, "embedding")
    if not isinstance(model, PreTrainedModel):
        return Task(model, takes, "classification" if labelled else "inference", labelled=labelled)
    if type(model).__name__.endswith("ForSequenceClassification"):
        return _classification(model, takes)
    raise _unknown(model)


def _is_encoder(model: Any) -> bool:
    name = type(model).__name__
    # A decoder of two halves needs a text that it has answered so far.
    whole = not getattr(model.config, "is_encoder_decoder", False) or name.endswith("EncoderModel")
    return name.endswith("Model") and not name.endswith(_GENERATES) and whole and not model.can_generate()


def _classification(model: Any, takes: frozenset[str]) -> Task:
    config = model.config
    names = tuple(str(config.id2label[at]) for at in sorted(config.id2label))
    # As `TextClassificationPipeline.__call__` chooses.
    if config.problem_type == "regression":
        return Task(_Classifier(model, "values"), takes, "regression", names)
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return Task(_Classifier(model, "shares"), takes, "classification", names)
    return Task(_Classifier(model, "classes"), takes, "classification", names, labelled=True)


def _unknown(model: Any) -> ConverterFailed:
    name = type(model).__name__
    known = "a `…ForSequenceClassification`, or an encoder such as `BertModel`"
    if name.endswith(_GENERATES) or model.can_generate():
        hint = "pack its encoder for embeddings, or a model that was trained to classify"
        return ConverterFailed(f"`{name}`", expected=known, found="a model that generates texts", hint=hint)
    if getattr(model.config, "is_encoder_decoder", False):
        hint = "pack the encoder alone: `model.get_encoder()`, or a class such as `T5EncoderModel`"
        return ConverterFailed(f"`{name}`", expected=known, found="an encoder with a decoder", hint=hint)
    hint = "pack a module of your own around it, whose `forward(input_ids, attention_mask)` returns tensors"
    return ConverterFailed(f"`{name}`", expected=known, found="a model of another task", hint=hint)


class _Classifier(torch.nn.Module):  # type: ignore[misc]
    """Logits as a pipeline shows them: shares of classes, a share of each label, or values."""

    def __init__(self, model: Any, kind: Literal["classes", "shares", "values"]) -> None:
        super().__init__()
        self.model = model
        self.kind = kind
        self.keywords = _without_cache(model)

    def forward(self, **tokens: Any) -> Any:
        """Return what becomes the outputs."""
        logits = self.model(**tokens, **self.keywords).logits  # [rows, labels]
        if self.kind == "classes":
            return torch.softmax(logits, dim=-1)
        # By name, because an output without one would be called `value`.
        if self.kind == "shares":
            return {"probabilities": torch.sigmoid(logits)}
        return {"value": logits[:, 0] if logits.shape[1] == 1 else logits}


class _Embedding(torch.nn.Module):  # type: ignore[misc]
    """One vector for a text."""

    def __init__(self, model: Any, pooling: Pooling, *, normalize: bool) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling
        self.normalize = normalize
        self.keywords = _without_cache(model)

    def forward(self, **tokens: Any) -> Any:
        """Return the vectors, of length 1 if they are normalised."""
        steps = self.model(**tokens, **self.keywords).last_hidden_state  # [rows, length, width]
        mask = tokens["attention_mask"]  # [rows, length]
        if self.pooling == "mean":
            # As sentence-transformers pools: at least 1e-9, so that nothing is divided by zero.
            weights = mask.unsqueeze(-1).to(steps.dtype)
            pooled = (steps * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        else:
            # Not places 0 and -1, where the padding may be.
            places = torch.arange(mask.shape[1], device=mask.device) * mask
            first, last = mask.argmax(1), places.argmax(1)
            chosen = (first if self.pooling == "cls" else last).view(-1, 1, 1)
            pooled = steps.gather(1, chosen.expand(-1, 1, steps.shape[2])).squeeze(1)
        if self.normalize:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return {"embedding": pooled}


def _without_cache(model: Any) -> dict[str, Any]:
    # Keys and values of a decoder, which only the next token of a text would need.
    return {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
