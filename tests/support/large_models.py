"""Models with 16 MB of weights and more, which workers share: one for each kind of kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle import Bundle, Draft, write_bundle
from lading.signature import Signature
from support.onnx_graphs import bundle_of, graph, node, tensor


def draw(*shape: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    """Draw weights; the same arguments give the same numbers."""
    return (np.random.default_rng(0).standard_normal(shape) / 20).astype(dtype)


def matrix(folder: Path, rows: int = 64, columns: int = 70_000) -> Bundle:
    """Write a bundle with one matrix, of 18 MB by default."""
    model = graph(
        [node("MatMul", "X W", "Y")],
        [tensor("X", "float32", "batch", rows)],
        [tensor("Y", "float32", "batch", columns)],
        constants={"W": draw(rows, columns)},
    )
    return bundle_with(folder, model, ("float32", ("batch", rows)), ("float32", ("batch", columns)))


def bundle_with(folder: Path, model: bytes, x: Any, y: Any, rows: Any = None) -> Bundle:
    """Write a bundle of `model` with the input `x` and the output `y`, each as (dtype, shape)."""
    tensors = [tensor(name, dtype, *shape) for name, (dtype, shape) in (("X", x), ("Y", y))]
    if rows is None:
        dtype, shape = x
        rows = draw(2, *(size for size in shape[1:] if isinstance(size, int)), dtype=dtype)
    return bundle_of(folder, model, Signature(inputs=(tensors[0],), outputs=(tensors[1],)), {"X": rows})


def with_external_data(inside: Bundle, folder: Path) -> Bundle:
    """Write the bundle `inside` once more into `folder`, with the weights in a file beside the model."""
    import onnx

    saved, beside = folder / "model.onnx", folder / "weights.bin"
    onnx.save(onnx.load(inside.model_path), saved, save_as_external_data=True, location=beside.name)
    draft = Draft(**{name: getattr(inside.manifest, name) for name in Draft.__struct_fields__})
    return write_bundle(
        folder / "outside",
        draft,
        model=saved,
        samples=inside.samples(),
        requirements=(inside.path / "requirements.txt").read_text(),
        external={beside.name: beside},
    )


def odd_sizes(folder: Path) -> Bundle:
    """Write a model whose weights have odd sizes: unless they are padded, kernels crash on unaligned ones."""
    model = graph(
        [
            node("Gemm", "X W1 b1", "h", transB=1),
            node("Relu", "h", "r"),
            node("Gemm", "r W2 b2", "g"),
            node("MatMul", "g W3", "p"),
            node("MatMul", "p W4", "Y"),
        ],
        [tensor("X", "float32", "batch", 1_001)],
        [tensor("Y", "float32", "batch", 77)],
        constants={
            "W1": draw(2_203, 1_001), "b1": draw(2_203), "W2": draw(2_203, 997), "b2": draw(997),
            "W3": draw(997, 513), "W4": draw(513, 77),
        },
    )  # fmt: skip
    return bundle_with(folder, model, ("float32", ("batch", 1_001)), ("float32", ("batch", 77)))


def quantized(folder: Path) -> Bundle:
    """Write a model with a matrix of uint8, quantized."""
    model = graph(
        [
            node("DynamicQuantizeLinear", "X", "q s z"),
            node("MatMulInteger", "q W z zero", "i"),
            node("Cast", "i", "f", to=1),
            node("Mul", "s scale", "all"),
            node("Mul", "f all", "Y"),
        ],
        [tensor("X", "float32", "batch", 1_003)],
        [tensor("Y", "float32", "batch", 17_001)],
        constants={
            "W": np.random.default_rng(0).integers(0, 255, (1_003, 17_001)).astype(np.uint8),
            "zero": np.array(127, np.uint8),
            "scale": np.array(0.01, np.float32),
        },
    )
    return bundle_with(folder, model, ("float32", ("batch", 1_003)), ("float32", ("batch", 17_001)))


def small_tensors(folder: Path) -> Bundle:
    """Write a model of 19 MB in 30 matrices, none of which is large enough to be shared."""
    names = ["X", *(f"h{at}" for at in range(29)), "Y"]
    model = graph(
        [node("MatMul", f"{names[at]} W{at}", names[at + 1]) for at in range(30)],
        [tensor("X", "float32", "batch", 400)],
        [tensor("Y", "float32", "batch", 400)],
        constants={f"W{at}": draw(400, 400) for at in range(30)},
    )
    return bundle_with(folder, model, ("float32", ("batch", 400)), ("float32", ("batch", 400)))


def convolutions(folder: Path) -> Bundle:
    """Write a model of two convolutions."""
    model = graph(
        [
            node("Conv", "X W1 b1", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("BatchNormalization", "c s o m v", "n"),
            node("Relu", "n", "r"),
            node("Conv", "r W2", "d", kernel_shape=[3, 3], strides=[2, 2]),
            node("GlobalAveragePool", "d", "p"),
            node("Flatten", "p", "f"),
            node("Gemm", "f G b2", "Y", transB=1),
        ],
        [tensor("X", "float32", "batch", 3, 16, 16)],
        [tensor("Y", "float32", "batch", 10)],
        constants={
            "W1": draw(512, 3, 3, 3), "b1": draw(512), "s": draw(512), "o": draw(512),
            "m": draw(512), "v": draw(512) ** 2 + 1, "W2": draw(960, 512, 3, 3),
            "G": draw(10, 960), "b2": draw(10),
        },
    )  # fmt: skip
    return bundle_with(folder, model, ("float32", ("batch", 3, 16, 16)), ("float32", ("batch", 10)))


def recurrent(folder: Path) -> Bundle:
    """Write a model with an LSTM."""
    model = graph(
        [
            node("Transpose", "X", "t", perm=[1, 0, 2]),
            node("LSTM", "t W R B", "all h", hidden_size=800),
            node("Squeeze", "h axis", "Y"),
        ],
        [tensor("X", "float32", "batch", 5, 600)],
        [tensor("Y", "float32", "batch", 800)],
        constants={
            "W": draw(1, 3200, 600), "R": draw(1, 3200, 800), "B": draw(1, 6400),
            "axis": np.array([0]),
        },
    )  # fmt: skip
    return bundle_with(folder, model, ("float32", ("batch", 5, 600)), ("float32", ("batch", 800)))


def half_precision(folder: Path) -> Bundle:
    """Write a model with a matrix of float16."""
    model = graph(
        [node("MatMul", "X W", "Y")],
        [tensor("X", "float16", "batch", 64)],
        [tensor("Y", "float16", "batch", 140_000)],
        constants={"W": draw(64, 140_000, dtype="float16")},
    )
    return bundle_with(folder, model, ("float16", ("batch", 64)), ("float16", ("batch", 140_000)))


def embeddings(folder: Path) -> Bundle:
    """Write a model that looks rows up in a table."""
    model = graph(
        [node("Gather", "E X", "Y")],
        [tensor("X", "int64", "batch")],
        [tensor("Y", "float32", "batch", 500)],
        constants={"E": draw(10_000, 500)},
    )
    rows = np.array([3, 9_999])
    return bundle_with(folder, model, ("int64", ("batch",)), ("float32", ("batch", 500)), rows)


def branches(folder: Path) -> Bundle:
    """Write a model with a matrix in each branch of an If."""
    from onnx import TensorProto, helper, numpy_helper

    def branch(name: str, sign: int) -> Any:
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        held = [numpy_helper.from_array(sign * draw(64, 40_000), f"{name}_W")]
        return helper.make_graph([node("MatMul", f"X {name}_W", f"{name}_y")], name, [], [out], held)

    model = graph(
        [
            node("ReduceSum", "X", "s", keepdims=0),
            node("Greater", "s zero", "c"),
            node("If", "c", "Y", then_branch=branch("one", 1), else_branch=branch("two", -1)),
        ],
        [tensor("X", "float32", "batch", 64)],
        [tensor("Y", "float32", "batch", 40_000)],
        constants={"zero": np.array(0, np.float32)},
    )
    return bundle_with(folder, model, ("float32", ("batch", 64)), ("float32", ("batch", 40_000)))


def words(folder: Path) -> Bundle:
    """Write a model that answers with texts."""
    from onnx import TensorProto, helper

    names = [f"a category with the number {at}" for at in range(500)]
    model = graph(
        [
            node("Constant", "", "S", value=helper.make_tensor("S", TensorProto.STRING, [500], names)),
            node("MatMul", "X W", "p"),
            node("ArgMax", "p", "i", axis=1, keepdims=0),
            node("Mod", "i count", "k"),
            node("Gather", "S k", "Y"),
        ],
        [tensor("X", "float32", "batch", 64)],
        [tensor("Y", "string", "batch")],
        constants={"W": draw(64, 70_000), "count": np.array(500)},
    )
    return bundle_with(folder, model, ("float32", ("batch", 64)), ("string", ("batch",)))


def sparse(folder: Path) -> Bundle:
    """Write a model with a sparse tensor, which ONNX Runtime runs but cannot save."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(
        graph(
            [node("MatMul", "X S", "s"), node("MatMul", "s W", "Y")],
            [tensor("X", "float32", "batch", 64)],
            [tensor("Y", "float32", "batch", 70_000)],
            constants={"W": draw(64, 70_000)},
        )
    )
    values = helper.make_tensor("S", TensorProto.FLOAT, [600], draw(600))
    at = helper.make_tensor("at", TensorProto.INT64, [600], np.arange(600) * 6)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, at, [64, 64]))
    return bundle_with(
        folder, model.SerializeToString(), ("float32", ("batch", 64)), ("float32", ("batch", 70_000))
    )


def drawn(folder: Path) -> Bundle:
    """Write a model that draws numbers, with a seed that depends on the order of its nodes."""
    model = graph(
        [
            node("Identity", "X", "i"),
            node("Dropout", "i", "d"),
            node("MatMul", "d W", "p"),
            node("RandomNormalLike", "p", "r"),
            node("Add", "r p", "Y"),
        ],
        [tensor("X", "float32", "batch", 64)],
        [tensor("Y", "float32", "batch", 70_000)],
        constants={"W": draw(64, 70_000)},
    )
    return bundle_with(folder, model, ("float32", ("batch", 64)), ("float32", ("batch", 70_000)))


def attention_model(width: int = 64) -> bytes:
    """Build attention over token ids of any number, whose memory grows with the square of their number."""
    return graph(
        [
            node("Gather", "table ids", "e"),
            node("Transpose", "e", "t", perm=[0, 2, 1]),
            node("MatMul", "e t", "scores"),
            node("Softmax", "scores", "p"),
            node("MatMul", "p e", "c"),
            node("ReduceMean", "c", "y", axes=[1], keepdims=0),
        ],
        [tensor("ids", "int64", "batch", "length")],
        [tensor("y", "float32", "batch", width)],
        constants={"table": draw(1000, width)},
    )


def attention(folder: Path) -> Bundle:
    """Write a bundle of `attention_model`, with golden samples of 64 tokens."""
    inputs, outputs = (tensor("ids", "int64", "batch", "length"),), (tensor("y", "float32", "batch", 64),)
    ids = np.random.default_rng(0).integers(0, 1000, (16, 64))
    return bundle_of(folder, attention_model(), Signature(inputs, outputs), {"ids": ids}, name="attention")


def feed_forward(folder: Path) -> Bundle:
    """Write a bundle of 13 MB: a feed-forward block of a transformer, whose tokens take 12 KB each."""
    inputs, outputs = (tensor("ids", "int64", "batch", "length"),), (tensor("y", "float32", "batch", 8),)
    nodes = [
        node("Gather", "table ids", "e"),
        node("MatMul", "e w1", "a"),
        node("Relu", "a", "b"),
        node("MatMul", "b w2", "c"),
        node("ReduceMean", "c", "y", axes=[1], keepdims=0),
    ]
    weights = {"table": draw(1000, 768), "w1": draw(768, 3072), "w2": draw(3072, 8)}
    ids = np.random.default_rng(0).integers(0, 1000, (32, 128))
    model = graph(nodes, inputs, outputs, constants=weights)
    return bundle_of(folder, model, Signature(inputs, outputs), {"ids": ids}, name="feed-forward")
