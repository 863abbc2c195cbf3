"""How near rows are to another label."""

from __future__ import annotations

import numpy as np

from lading.pack.margins import margins


def test_the_margin_of_probabilities_is_between_the_first_two():
    margin = margins(
        {"label": np.array([0, 1]), "probabilities": np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]])}
    )
    np.testing.assert_allclose(margin.distance, [0.5, 0.1])
    np.testing.assert_allclose(margin.size, [0.7, 0.5])


def test_the_margin_of_one_signed_score_is_its_size():
    margin = margins({"scores": np.array([0.3, -0.2])})
    np.testing.assert_allclose(margin.distance, [0.3, 0.2])


def test_the_margin_of_distances_is_between_the_least_two():
    margin = margins({"distances": np.array([[1.0, 4.0, 1.5]])})
    np.testing.assert_allclose(margin.distance, [0.5])


def test_of_several_targets_the_nearest_counts():
    probabilities = np.array([[[0.9, 0.1], [0.55, 0.45]]])  # [rows, targets, classes]
    np.testing.assert_allclose(margins({"probabilities": probabilities}).distance, [0.1])


def test_outputs_without_numbers_that_decide_have_no_margin():
    assert margins({"label": np.array([1]), "value": np.array([0.5])}) is None
