"""The output that names a class, and the names of classes."""

from __future__ import annotations

import numpy as np

from lading.signature import Tensor, label_output, named_labels


def test_labels_of_nested_classes_keep_their_shape():
    tensor = Tensor(name="label", dtype="int64", shape=("batch", 2))
    scores = Tensor(name="scores", dtype="float32", shape=(3,), columns=("a", "b", "c"))
    assert named_labels(scores, np.array([0.1, 0.7, 0.2]), {"b": "yes"}) == "yes"
    assert named_labels(tensor, np.array([[0, 1], [1, 2]]), {"0": "no", "1": "yes"}) == [
        ["no", "yes"],
        ["yes", 2],
    ]


def test_the_label_comes_before_scores_and_scores_need_columns():
    label = Tensor(name="label", dtype="int64", shape=("batch",))
    bare = Tensor(name="probabilities", dtype="float32", shape=("batch", 2))
    scores = Tensor(name="scores", dtype="float32", shape=("batch", 2), columns=("a", "b"))
    assert label_output((scores, label)) == label
    assert label_output((bare, scores)) == scores
    assert label_output((bare,)) is None
