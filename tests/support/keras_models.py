"""Keras models and SavedModels as people make them: by name, a trained model and rows, half of them seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

ROWS, TRAINED = 400, 240
_RANDOM = np.random.default_rng(0)
TABLE = _RANDOM.normal(size=(ROWS, 6)).astype(np.float32)
SERIES = _RANDOM.normal(size=(ROWS, 10, 3)).astype(np.float32)
IMAGES = _RANDOM.random(size=(ROWS, 12, 12, 3)).astype(np.float32)
PIXELS = _RANDOM.integers(0, 256, (ROWS, 12, 12, 3)).astype(np.uint8)
TOKENS = _RANDOM.integers(1, 50, (ROWS, 9)).astype(np.int32)
ENDED = np.where(np.arange(9) < _RANDOM.integers(1, 10, (ROWS, 1)), TOKENS, 0).astype(np.int32)
AGES = _RANDOM.integers(18, 90, (ROWS, 1)).astype(np.int64)
CODES = _RANDOM.integers(0, 5, (ROWS, 1)).astype(np.int64)
AMOUNT = (TABLE[:, :1] * 2 - TABLE[:, 1:2] ** 2).astype(np.float32)
KIND = np.digitize(TABLE[:, 0], [-0.5, 0.5])
LENGTHS = (1, 3, 17)

Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A trained model, what answers as it does in its framework, and rows by input name.

    ``axes`` has the axis of each input whose size is open.
    """

    model: Any
    answer: Callable[[Rows], dict[str, np.ndarray]]
    rows: Rows
    axes: dict[str, int] = field(default_factory=dict)

    @property
    def samples(self) -> Rows:
        """The first half of the rows that it was trained on."""
        return {name: array[: TRAINED // 2] for name, array in self.rows.items()}

    @property
    def held_out(self) -> Rows:
        return {name: array[TRAINED:] for name, array in self.rows.items()}

    def kinds(self) -> Iterator[tuple[str, Rows]]:
        """Return rows that packing never saw: held out, of other sizes of numbers, of other lengths."""
        held = self.held_out
        yield "held out", held
        if any(array.dtype.kind == "f" for array in held.values()):
            for factor in (0.0, 1e-3, 50.0):
                yield (
                    f"times {factor:g}",
                    {
                        name: array * np.float32(factor) if array.dtype.kind == "f" else array
                        for name, array in held.items()
                    },
                )
        for length in LENGTHS if self.axes else ():
            yield (
                f"length {length}",
                {
                    name: array.take(np.arange(length) % array.shape[self.axes[name]], self.axes[name])
                    if name in self.axes
                    else array
                    for name, array in held.items()
                },
            )


def keras_cases() -> Iterator[tuple[str, Callable[[], Case]]]:
    """Return Keras models by name, each built and trained when it is called for."""
    yield "Sequential, dense", _dense
    yield "Functional, two inputs", _two_inputs
    yield "CNN with BatchNormalization", _cnn
    yield "LSTM", _lstm
    yield "LSTM with Masking, open length", _masked
    yield "Bidirectional GRU, stacked", _bidirectional
    yield "Conv1D, causal and dilated", _conv1d
    yield "MultiHeadAttention, LayerNormalization", _attention
    yield "Transformer block with a causal mask, open length", _transformer
    yield "Embedding and pooling, open length", _embedding
    yield "residual, SeparableConv2D", _residual
    yield "autoencoder, Conv2DTranspose", _autoencoder
    yield "several outputs, in a list", _outputs
    yield "several outputs, in a dict", _named_outputs
    yield "Normalization in front", _normalization
    yield "Rescaling of uint8 images, Resizing", _rescaling
    yield "CategoryEncoding and Discretization", _categories
    yield "subclass of Model", _subclass
    yield "subclass of Model, dict of inputs", _subclass_of_dict
    yield "float64", _float64
    yield "mixed_float16", _mixed


def saved_model_cases(folder: Path) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Return SavedModels by name, each written into `folder` when it is called for."""
    yield "tf.Module with a function", lambda: _module(folder / "module")
    yield "Keras' export", lambda: _keras_export(folder / "export")
    yield "several signatures and outputs", lambda: _signatures(folder / "signatures")
    yield "of TensorFlow 1", lambda: _of_version_1(folder / "version_1")


def trained(model: Any, rows: Any, targets: Any) -> Any:
    """Return the model after a short training."""
    model.compile("adam", "mse", jit_compile=False)
    model.fit(_first(rows), _first(targets), epochs=2, batch_size=60, verbose=0)
    return model


def _first(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: array[:TRAINED] for name, array in values.items()}
    if isinstance(values, list):
        return [array[:TRAINED] for array in values]
    return values[:TRAINED]


def of_one(model: Any, rows: np.ndarray, name: str = "X", **facts: Any) -> Case:
    """Return the case of a model with one input and one output."""
    return Case(
        model, lambda held: {"value": np.asarray(model(held[name], training=False))}, {name: rows}, **facts
    )


def _dense() -> Case:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Dense(16, "relu"), layers.Dropout(0.2), layers.Dense(3, "softmax")])
    return of_one(trained(model, TABLE, np.eye(3)[KIND]), TABLE)


def _two_inputs() -> Case:
    table, series = keras.Input((6,), name="table"), keras.Input((10, 3), name="series")
    joined = layers.Concatenate()([layers.Dense(8, "gelu")(table), layers.Flatten()(series)])
    model = keras.Model([table, series], layers.Dense(1)(joined))
    trained(model, [TABLE, SERIES], AMOUNT)

    def answer(rows: Rows) -> dict[str, np.ndarray]:
        return {"value": np.asarray(model([rows["table"], rows["series"]], training=False))}

    return Case(model, answer, {"table": TABLE, "series": SERIES})


def _cnn() -> Case:
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3), name="image"),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(8, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(max_value=6),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(3, "softmax"),
        ]
    )
    return of_one(trained(model, IMAGES, np.eye(3)[KIND]), IMAGES, "image")


def _lstm() -> Case:
    model = keras.Sequential([keras.Input((10, 3)), layers.LSTM(8), layers.Dense(1)])
    return of_one(trained(model, SERIES, AMOUNT), SERIES)


def _masked() -> Case:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    vectors = layers.Embedding(50, 6, mask_zero=True)(tokens)
    model = keras.Model(tokens, layers.Dense(1)(layers.LSTM(5)(vectors)))
    return of_one(trained(model, ENDED, AMOUNT), ENDED, "tokens", axes={"tokens": 1})


def _bidirectional() -> Case:
    model = keras.Sequential(
        [
            keras.Input((None, 3), name="series"),
            layers.Bidirectional(layers.GRU(6, return_sequences=True)),
            layers.Bidirectional(layers.GRU(4, reset_after=False), merge_mode="sum"),
            layers.Dense(1),
        ]
    )
    return of_one(trained(model, SERIES, AMOUNT), SERIES, "series", axes={"series": 1})


def _conv1d() -> Case:
    model = keras.Sequential(
        [
            keras.Input((None, 3), name="series"),
            layers.Conv1D(8, 3, padding="causal", dilation_rate=2, activation="swish"),
            layers.Conv1D(4, 2, padding="causal", activation="elu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(1),
        ]
    )
    return of_one(trained(model, SERIES, AMOUNT), SERIES, "series", axes={"series": 1})


def _attention() -> Case:
    series = keras.Input((10, 3), name="series")
    vectors = layers.Dense(8)(series)
    attended = layers.MultiHeadAttention(2, 4)(vectors, vectors)
    hidden = layers.LayerNormalization()(layers.Add()([vectors, attended]))
    model = keras.Model(series, layers.Dense(1)(layers.Flatten()(hidden)))
    return of_one(trained(model, SERIES, AMOUNT), SERIES, "series")


def _transformer() -> Case:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    vectors = layers.Embedding(50, 8)(tokens)
    attended = layers.MultiHeadAttention(2, 4)(vectors, vectors, use_causal_mask=True)
    hidden = layers.LayerNormalization()(vectors + attended)
    hidden = layers.Dense(8, "gelu")(hidden)
    model = keras.Model(tokens, layers.Dense(1)(layers.GlobalAveragePooling1D()(hidden)))
    return of_one(trained(model, TOKENS, AMOUNT), TOKENS, "tokens", axes={"tokens": 1})


def _embedding() -> Case:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    pooled = layers.GlobalAveragePooling1D()(layers.Embedding(50, 8)(tokens))
    model = keras.Model(tokens, layers.Dense(3, "softmax")(pooled))
    return of_one(trained(model, TOKENS, np.eye(3)[KIND]), TOKENS, "tokens", axes={"tokens": 1})


def _residual() -> Case:
    image = keras.Input((12, 12, 3), name="image")
    hidden = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    inner = layers.SeparableConv2D(8, 3, padding="same")(hidden)
    inner = layers.BatchNormalization()(inner)
    hidden = layers.ReLU()(layers.Add()([hidden, inner]))
    hidden = layers.AveragePooling2D(3, strides=2, padding="same")(layers.DepthwiseConv2D(3)(hidden))
    model = keras.Model(image, layers.Dense(1)(layers.Flatten()(hidden)))
    return of_one(trained(model, IMAGES, AMOUNT), IMAGES, "image")


def _autoencoder() -> Case:
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3), name="image"),
            layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Conv2D(6, 3, strides=2, padding="same", activation="tanh"),
            layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid"),
        ]
    )
    return of_one(trained(model, IMAGES, IMAGES), IMAGES, "image")


def _outputs() -> Case:
    table = keras.Input((6,), name="table")
    hidden = layers.Dense(8, "relu")(table)
    outputs = [layers.Dense(3, "softmax", name="kind")(hidden), layers.Dense(1, name="amount")(hidden)]
    model = trained(keras.Model(table, outputs), TABLE, [np.eye(3)[KIND], AMOUNT])

    def answer(rows: Rows) -> dict[str, np.ndarray]:
        kind, amount = model(rows["table"], training=False)
        return {"kind": np.asarray(kind), "amount": np.asarray(amount)}

    return Case(model, answer, {"table": TABLE})


def _named_outputs() -> Case:
    table = keras.Input((6,))
    hidden = layers.Dense(8, "leaky_relu")(table)
    outputs = {"up": layers.Dense(2)(hidden), "down": layers.Dense(1, "softplus")(hidden)}
    model = trained(keras.Model(table, outputs), TABLE, {"up": TABLE[:, :2], "down": AMOUNT})

    def answer(rows: Rows) -> dict[str, np.ndarray]:
        return {name: np.asarray(value) for name, value in model(rows["X"], training=False).items()}

    return Case(model, answer, {"X": TABLE})


def _normalization() -> Case:
    normalization = layers.Normalization()
    normalization.adapt(TABLE[:TRAINED] * 40 + 7)
    model = keras.Sequential([keras.Input((6,)), normalization, layers.Dense(8, "selu"), layers.Dense(1)])
    return of_one(trained(model, TABLE * 40 + 7, AMOUNT), TABLE * 40 + 7)


def _rescaling() -> Case:
    image = keras.Input((12, 12, 3), dtype="uint8", name="image")
    hidden = layers.Rescaling(1 / 127.5, offset=-1)(image)
    hidden = layers.Resizing(8, 8)(hidden)
    model = keras.Model(image, layers.Dense(1)(layers.Flatten()(layers.Conv2D(4, 3)(hidden))))
    return of_one(trained(model, PIXELS, AMOUNT), PIXELS, "image")


def _categories() -> Case:
    inputs = {
        "age": keras.Input((1,), name="age", dtype="int64"),
        "code": keras.Input((1,), name="code", dtype="int64"),
    }
    age = layers.Discretization([25.0, 40.0, 65.0], output_mode="one_hot")(inputs["age"])
    code = layers.CategoryEncoding(5, output_mode="one_hot")(inputs["code"])
    model = keras.Model(inputs, layers.Dense(1)(layers.Concatenate()([age, code])))
    rows = {"age": AGES, "code": CODES}
    trained(model, rows, AMOUNT)
    return Case(model, lambda held: {"value": np.asarray(model(held, training=False))}, rows)


class Scored(keras.Model):
    """A model of one's own, with layers and arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.last = layers.Dense(8, "relu"), layers.Dense(2)

    def call(self, rows: Any) -> Any:
        centred = rows - keras.ops.mean(rows, axis=1, keepdims=True)
        return self.last(self.hidden(centred)) * keras.ops.sigmoid(rows[:, :2])


class Joined(keras.Model):
    """A model of one's own that takes a dict and returns one."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.last = layers.Dense(4, "relu"), layers.Dense(1)

    def call(self, rows: Any) -> Any:
        hidden = self.mix(rows["left"]) + keras.ops.max(rows["right"], axis=1)[:, :1]
        return {"amount": self.last(hidden), "hidden": hidden}


def _subclass() -> Case:
    return of_one(trained(Scored(), TABLE, TABLE[:, :2]), TABLE)


def _subclass_of_dict() -> Case:
    model, rows = Joined(), {"left": TABLE, "right": SERIES}
    trained(model, rows, {"amount": AMOUNT, "hidden": TABLE[:, :4]})

    def answer(held: Rows) -> dict[str, np.ndarray]:
        return {name: np.asarray(value) for name, value in model(held, training=False).items()}

    return Case(model, answer, rows)


def _float64() -> Case:
    rows = TABLE.astype(np.float64)
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="float64"),
            layers.Dense(8, "tanh", dtype="float64"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    return of_one(trained(model, rows, AMOUNT), rows)


def _mixed() -> Case:
    policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, "relu", dtype=policy), layers.Dense(1, dtype="float32")]
    )
    return of_one(trained(model, TABLE, AMOUNT), TABLE)


class Linear(tf.Module):
    """A module of TensorFlow without Keras."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(_RANDOM.normal(size=(6, 2)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="features")])
    def score(self, features: Any) -> Any:
        return tf.nn.softmax(
            tf.matmul(features, self.weights) + tf.reduce_sum(features, axis=1, keepdims=True)
        )


def _module(path: Path) -> Case:
    module = Linear()
    tf.saved_model.save(module, str(path), signatures=module.score)
    return Case(path, lambda rows: {"value": module.score(**rows).numpy()}, {"features": TABLE})


def _keras_export(path: Path) -> Case:
    case = _two_inputs()
    case.model.export(path, format="tf_saved_model", verbose=False)
    return Case(path, case.answer, case.rows)


class Parts(tf.Module):
    """A module with two functions, one of them with several inputs and outputs and an open length."""

    def __init__(self) -> None:
        super().__init__()
        self.table = tf.Variable(_RANDOM.normal(size=(50, 4)).astype(np.float32))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, name="tokens"),
            tf.TensorSpec([None, None], tf.float32, name="importance"),
        ]
    )
    def pool(self, tokens: Any, importance: Any) -> Any:
        vectors = tf.gather(self.table, tokens) * importance[:, :, None]
        return {"mean": tf.reduce_mean(vectors, axis=1), "length": tf.shape(vectors)[1] + 0 * tokens[:, 0]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="token")])
    def embed(self, token: Any) -> Any:
        return {"vector": tf.gather(self.table, token)}


def _signatures(path: Path) -> Case:
    module = Parts()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.pool, "embed": module.embed})

    def answer(rows: Rows) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in module.pool(**rows).items()}

    rows = {"tokens": TOKENS, "importance": _RANDOM.random(TOKENS.shape).astype(np.float32)}
    return Case(path, answer, rows, {"tokens": 1, "importance": 1})


def _of_version_1(path: Path) -> Case:
    v1, weights = tf.compat.v1, _RANDOM.normal(size=(6, 3)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        features = v1.placeholder(tf.float32, [None, 6], name="features")
        kernel = v1.get_variable("kernel", initializer=weights)
        scores = tf.nn.elu(tf.matmul(features, kernel))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(path), {"features": features}, {"scores": scores})
    return Case(
        path, lambda rows: {"scores": tf.nn.elu(rows["features"] @ weights).numpy()}, {"features": TABLE}
    )
