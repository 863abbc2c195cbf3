"""Modules of PyTorch as people write them: by name, a module, samples, and calls that packing never sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from lading.bundle import Bundle
from lading.bundle.requests import request_signature
from lading.pack import pack
from lading.parity import compare
from lading.runtime.open import load_runtime

OWNER = "tests@example.com"
_ROWS = (1, 7, 64)
_LENGTHS = (1, 5, 12, 33)
_WORDS = 50

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Made:
    """A module, its samples, and further calls of it; `settings` are those of `pack`."""

    module: Any
    samples: Any
    held_out: Sequence[Inputs]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Asked:
    """What was asked of a bundle, and how far its numbers were from the module's own."""

    calls: int = 0
    rows: int = 0
    otherwise: int = 0
    largest: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def route(self) -> str:
        """The exporter that made the graph."""
        return next(note for note in self.notes if note.startswith("exported with"))


Case = tuple[str, Callable[[], Made]]


def pack_and_ask(made: Made, folder: Path) -> tuple[Bundle, Asked]:
    """Pack a module, and ask the bundle by the runtime that serves for calls that packing never saw."""
    asked = Asked()
    where = {"name": "m", "owner": OWNER, "to": folder / "b", "on_note": asked.notes.append}
    bundle = pack(made.module, samples=made.samples, **where, **made.settings)
    signature = request_signature(bundle.manifest, bundle.samples())
    own = made.module
    if isinstance(own, torch.export.ExportedProgram):
        own = own.module()
    else:
        own.eval()
    runtime = load_runtime(bundle)
    try:
        for inputs in made.held_out:
            arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
            answers = runtime.run(signature.cast(arrays))
            asked.calls += 1
            asked.rows += len(next(iter(answers.values())))
            with torch.no_grad():
                expected = _expected(own(*inputs.values()), list(answers))
            parity = compare(signature.outputs, expected, answers, bundle.manifest.tolerance)
            asked.otherwise += not parity.holds
            asked.largest = max(asked.largest, parity.max_abs_error)
    finally:
        runtime.close()
    return bundle, asked


def _expected(answer: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return what the module answered by the names of the bundle, without lading's own way to flatten it."""
    if isinstance(answer, torch.Tensor) and names[0] == "label":
        return {"label": answer.argmax(1).numpy(), names[1]: answer.numpy()}
    if isinstance(answer, torch.Tensor):
        answer = (answer,)
    if hasattr(answer, "_asdict"):
        answer = answer._asdict()
    values = list(answer.values()) if isinstance(answer, Mapping) else list(answer)
    flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return {name: part.numpy() for name, part in zip(names, flat, strict=True)}


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.body = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.3), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(self.norm(x))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module], **settings: Any) -> None:
        super().__init__()
        self.embed = nn.Embedding(_WORDS, 8)
        self.layer = kind(8, 16, batch_first=True, **settings)
        self.head = nn.Linear(32 if settings.get("bidirectional") else 16, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        steps, _ = self.layer(self.embed(tokens))
        return self.head(steps[:, -1])


class ByHand(nn.Module):
    """Both directions, the second one turned round by the length of its own output."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(_WORDS, 8), nn.Linear(12, 3)
        self.forth, self.back = (nn.LSTM(8, 6, batch_first=True) for _ in range(2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        words = self.embed(tokens)
        forth, _ = self.forth(words)
        back, _ = self.back(words.flip(1))
        turned = torch.arange(tokens.shape[1] - 1, -1, -1).view(1, -1, 1).expand_as(back)
        return self.head(torch.cat([forth, back.gather(1, turned)], dim=2).mean(1))


class StatefulSteps(nn.Module):
    """An LSTM whose caller keeps the state: steps and both states out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> Any:
        steps, (hidden, cell) = self.layer(x)
        return {"steps": steps, "state": (hidden.transpose(0, 1), cell.transpose(0, 1))}


class Encoder(nn.Module):
    """Tokens and a mask of padding to logits, as text classifiers are."""

    def __init__(self, most: int = 64) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(_WORDS, 16), nn.Embedding(most, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        steps = self.encoder(self.embed(tokens) + self.place(places), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).float()
        return self.head((steps * weights).sum(1) / weights.sum(1))


class SelfAttention(nn.Module):
    """Attention over windows of numbers, written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.to_all, self.head = nn.Linear(4, 24), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.to_all(x).chunk(3, dim=-1)
        weights = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(8), dim=-1)
        return self.head((weights @ value).mean(dim=1))


class Causal(nn.Module):
    """A decoder: the next token of each step, by `scaled_dot_product_attention`."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.to_all, self.head = (
            nn.Embedding(_WORDS, 16),
            nn.Linear(16, 48),
            nn.Linear(16, _WORDS),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, length = tokens.shape
        parts = self.to_all(self.embed(tokens)).view(batch, length, 3, 2, 8).permute(2, 0, 3, 1, 4)
        steps = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        return self.head(steps.transpose(1, 2).reshape(batch, length, 16))


class TwoTowers(nn.Module):
    """Numbers and categories of a row, as recommenders have them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.numbers = nn.Embedding(_WORDS, 8), nn.Linear(5, 8)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(16, 1))

    def forward(self, numbers: torch.Tensor, category: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
        both = torch.cat([self.numbers(numbers), self.embed(category)], dim=1)
        value = torch.sigmoid(self.head(both)).squeeze(1)
        return value if bias is None else value + bias


class Bags(nn.Module):
    """Words without order, a fixed number in each row."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(_WORDS, 16, mode="mean"), nn.Linear(16, 4)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(self.head(self.bag(words)), dim=1)


class OffsetBags(Bags):
    """All words of all rows in one tensor, and where each row begins."""

    def forward(self, words: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return self.head(self.bag(words, offsets))


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = torch.tanh(self.body(x))
        return {
            "embedding": hidden,
            "norm": hidden.norm(dim=1),
            "positive": hidden.sum(1) > 0,
            "best": hidden.argmax(1),
        }


class Box(NamedTuple):
    corner: torch.Tensor
    size: torch.Tensor


class Boxes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Box:
        corner, size = self.body(x).split(2, dim=1)
        return Box(corner, F.softplus(size))


class Scaled(nn.Module):
    """A module whose buffers scale its input and undo it, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([5.0, -3.0, 100.0], dtype=torch.float64))
        self.register_buffer("std", torch.tensor([2.0, 0.1, 30.0], dtype=torch.float64))
        self.body = nn.Linear(3, 2).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body((x - self.mean) / self.std) * 7 + 1


class Chosen(nn.Module):
    """Gather and scatter: the values of chosen columns, and their counts."""

    def forward(self, values: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = values.gather(1, columns)
        counts = torch.zeros_like(values).scatter_add(1, columns, torch.ones_like(chosen))
        return chosen, counts


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, groups=2),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, 4),
        nn.Softmax(dim=1),
    )


def _numbers(
    make: Callable[[], nn.Module], *shape: int, name: str = "x", **settings: Any
) -> Callable[[], Made]:
    """Return a module over arrays of one shape, whose statistics of batches have moved."""

    def build() -> Made:
        torch.manual_seed(0)
        module = make()
        dtype = next(
            (buffer.dtype for buffer in module.buffers() if buffer.is_floating_point()), torch.float32
        )

        def draw(rows: int) -> torch.Tensor:
            return torch.randn(rows, *shape).to(dtype) * 2

        samples = draw(40)
        with torch.no_grad():
            for _ in range(3):
                module.train()(samples)
        return Made(module, samples, [{name: draw(rows)} for rows in _ROWS], settings)

    return build


def _steps(
    make: Callable[[], nn.Module], draw: Callable[[int, int], Inputs], open_axes: Any
) -> Callable[[], Made]:
    """Return a module that takes sequences of any length."""

    def build() -> Made:
        torch.manual_seed(0)
        held_out = [draw(rows, length) for rows in _ROWS for length in _LENGTHS]
        return Made(make(), draw(24, 9), held_out, {"open_axes": open_axes})

    return build


def _tokens(rows: int, length: int) -> Inputs:
    return {"tokens": torch.randint(0, _WORDS, (rows, length))}


def _masked(rows: int, length: int) -> Inputs:
    lengths = torch.randint(1, length + 1, (rows, 1))
    return {**_tokens(rows, length), "mask": (torch.arange(length) < lengths).long()}


def _windows(rows: int, length: int) -> Inputs:
    return {"x": torch.randn(rows, length, 4)}


def _signal(rows: int, length: int) -> Inputs:
    return {"input": torch.randn(rows, 2, length + 8)}


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))


def _normed() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ELU(), nn.Linear(16, 3))


def _two_layers() -> nn.Module:
    return Recurrent(nn.LSTM, num_layers=2, bidirectional=True)


def _conv1d() -> nn.Module:
    body = nn.Sequential(nn.Conv1d(2, 8, 5), nn.ReLU(), nn.Conv1d(8, 8, 3, dilation=2))
    return nn.Sequential(*body, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 2))


def torch_cases() -> Iterator[Case]:
    """Return modules, by name."""
    colours = ["red", "green", "blue"]
    length = {"tokens": {1: "length"}, "mask": {1: "length"}}
    yield "MLP", _numbers(_mlp, 6, name="input")
    yield "MLP with BatchNorm, labels", _numbers(_normed, 6, name="input", labels=colours)
    yield "CNN with BatchNorm, labels", _numbers(_cnn, 3, 16, 16, name="input", labels=["a", "b", "c", "d"])
    yield (
        "residual, LayerNorm, GELU",
        _numbers(lambda: Residual(8), 8),
    )
    yield "Conv1d, any length", _steps(_conv1d, _signal, {"input": {2: "length"}})
    yield "LSTM, token ids", _steps(lambda: Recurrent(nn.LSTM), _tokens, {"tokens": 1})
    yield (
        "LSTM, two layers, both directions",
        _steps(_two_layers, _tokens, {"tokens": 1}),
    )
    yield "two LSTMs, both directions by hand", _steps(ByHand, _tokens, {"tokens": 1})
    yield "LSTM with its state put out", _steps(StatefulSteps, _windows, {"x": {1: "steps"}})
    yield "GRU, token ids", _steps(lambda: Recurrent(nn.GRU), _tokens, {"tokens": 1})
    yield "attention", _steps(SelfAttention, _windows, {"x": 1})
    yield "TransformerEncoder with a mask", _steps(Encoder, _masked, length)
    yield "causal attention, a logit for each token", _steps(Causal, _tokens, {"tokens": 1})
    yield "samples of several lengths", _several_lengths
    yield "two inputs, one left out", _two_towers
    yield "EmbeddingBag", _word_bags
    yield "EmbeddingBag with offsets", _offset_bags
    yield "several outputs in a dict", _numbers(Several, 4)
    yield "outputs in a named tuple", _numbers(Boxes, 4)
    yield "buffers, float64", _numbers(Scaled, 3)
    yield "gather and scatter", _lookup
    yield "ExportedProgram", _program


def _several_lengths() -> Made:
    torch.manual_seed(0)
    held_out = [_masked(rows, length) for rows in _ROWS for length in _LENGTHS]
    return Made(Encoder(), [_masked(16, 8), _masked(9, 20), _masked(16, 3)], held_out)


def _two_towers() -> Made:
    torch.manual_seed(0)

    def draw(rows: int) -> Inputs:
        return {"numbers": torch.randn(rows, 5), "category": torch.randint(0, _WORDS, (rows,))}

    return Made(TwoTowers(), tuple(draw(30).values()), [draw(rows) for rows in _ROWS])


def _word_bags() -> Made:
    torch.manual_seed(0)
    held_out = [{"words": torch.randint(0, _WORDS, (rows, 6))} for rows in _ROWS]
    return Made(Bags(), torch.randint(0, _WORDS, (30, 6)), held_out)


def _offset_bags() -> Made:
    torch.manual_seed(0)

    def draw(rows: int) -> Inputs:
        lengths = torch.randint(1, 6, (rows,))
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)[:-1]])
        return {"words": torch.randint(0, _WORDS, (int(lengths.sum()),)), "offsets": offsets}

    return Made(OffsetBags(), [draw(20), draw(5)], [draw(rows) for rows in _ROWS])


def _lookup() -> Made:
    torch.manual_seed(0)

    def draw(rows: int) -> Inputs:
        return {"values": torch.randn(rows, 7), "columns": torch.randint(0, 7, (rows, 3))}

    return Made(Chosen(), draw(30), [draw(rows) for rows in _ROWS])


def _program() -> Made:
    torch.manual_seed(0)
    batch = {0: torch.export.Dim("rows")}
    program = torch.export.export(_mlp().eval(), (torch.randn(4, 6),), dynamic_shapes=(batch,))
    return Made(program, torch.randn(30, 6), [{"input": torch.randn(rows, 6)} for rows in _ROWS])
