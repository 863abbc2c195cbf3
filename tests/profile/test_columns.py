from __future__ import annotations

import numpy as np
import pytest

from lading.profile.columns import sources, values
from lading.signature import Tensor


def tensor(*shape, dtype="float32", **more):
    return Tensor(name="x", dtype=dtype, shape=shape, **more)


def names(of, **more):
    return [source.name for source in sources(of, **more)]


def measured(of, name, array):
    source = next(source for source in sources(of) if source.name == name)
    return values(source, array, of)


def test_columns_have_their_names_and_positions_a_number():
    assert names(tensor("batch", 2, columns=("a", "b"))) == ["a", "b"]
    assert names(tensor("batch", 2)) == ["x[0]", "x[1]"]
    assert names(tensor("batch")) == ["x"]
    assert names(tensor("batch", 1, columns=("age",))) == ["age"]


def test_a_tensor_without_rows_is_one_row():
    rate = tensor()
    assert names(rate) == ["x"]
    assert measured(rate, "x", np.array(0.5, np.float32)).tolist() == [0.5]
    state = tensor(2)
    assert measured(state, "x[1]", np.array([3.0, 4.0], np.float32)).tolist() == [4.0]


def test_many_unnamed_positions_are_summarised_too():
    known = names(tensor("batch", 64))
    assert len(known) == 64 + 2 + 8
    assert known[63:67] == ["x[63]", "norm of x", "mean of x", "projection 0 of x"]


def test_of_more_than_a_thousand_positions_there_are_summaries_only():
    assert len(names(tensor("batch", 1001))) == 2 + 8
    columns = tuple(f"c{at}" for at in range(1001))
    assert names(tensor("batch", 1001, columns=columns))[0] == "norm of x"


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5, 3)])
def test_an_image_has_the_mean_of_each_channel(shape):
    image = tensor("batch", *shape)
    assert names(image)[2:] == [f"mean of channel {at} of x" for at in range(3)]
    pixels = np.random.default_rng(0).random((6, *shape)).astype(np.float32)
    mean = measured(image, "mean of channel 1 of x", pixels)
    axis = 1 if shape[0] == 3 else 3
    assert mean == pytest.approx(pixels.take(1, axis).reshape(6, -1).mean(1), rel=1e-5)
    assert measured(image, "norm of x", pixels) == pytest.approx(
        np.sqrt((pixels.reshape(6, -1) ** 2).sum(1)), rel=1e-5
    )


def test_bytes_of_an_image_are_measured_as_numbers():
    image = tensor("batch", 2, 2, 3, dtype="uint8")
    pixels = np.full((1, 2, 2, 3), 255, np.uint8)
    assert measured(image, "mean of x", pixels).tolist() == [255.0]


def test_tokens_have_a_length_and_no_norm():
    tokens = tensor("batch", "sequence", dtype="int64")
    assert names(tokens) == ["mean of x", "values in x"]
    assert measured(tokens, "values in x", np.ones((4, 7), np.int64)).tolist() == [7] * 4


def test_a_sequence_of_vectors_has_a_norm():
    assert "norm of x" in names(tensor("batch", "sequence", 8))


def test_texts_have_positions_and_nothing_else():
    assert names(tensor("batch", 2, dtype="string")) == ["x[0]", "x[1]"]
    assert names(tensor("batch", "n", dtype="string")) == []


def test_probabilities_have_their_confidence():
    probabilities = Tensor(name="probabilities", dtype="float32", shape=("batch", 3))
    assert names(probabilities, is_output=True)[-1] == "confidence of probabilities"
    assert names(probabilities)[-1] == "probabilities[2]"


def test_a_row_is_measured_alone_as_among_others():
    embedding = tensor("batch", 256)
    rows = np.random.default_rng(0).normal(size=(50, 256)).astype(np.float32)
    for name in ("norm of x", "mean of x", "projection 3 of x"):
        together = measured(embedding, name, rows)
        alone = [measured(embedding, name, rows[at : at + 1])[0] for at in range(50)]
        fortran = measured(embedding, name, np.asfortranarray(rows))
        assert together.tolist() == alone == fortran.tolist()


def test_the_norm_of_vectors_of_length_one_is_one():
    rows = np.random.default_rng(0).normal(size=(1000, 64))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    assert set(measured(tensor("batch", 64), "norm of x", rows)) == {1.0}


def test_what_is_not_finite_stays_so():
    rows = np.array([[np.nan] * 40, [np.inf] * 40, [0.0] * 40], np.float32)
    norm = measured(tensor("batch", 40), "norm of x", rows)
    assert np.isnan(norm[0])
    assert np.isinf(norm[1])
    assert norm[2] == 0
