"""Texts that are drawn from what a model knows."""

from __future__ import annotations

import numpy as np

from lading.pack.text_drawing import draw_texts

SAMPLES = np.array(["great food", "rude staff"], dtype=object)


def drawn(words, rows=400):
    return draw_texts(words, SAMPLES, rows, np.random.default_rng(0)).tolist()


def test_every_known_word_is_drawn():
    words = tuple(f"word{at}" for at in range(3000))
    assert set(words) <= {word for text in drawn(words) for word in text.split()}


def test_texts_show_other_scripts_cases_and_spaces():
    together = "\n".join(drawn(("food", "caf\u00e9")))
    for part in (
        "FOOD",
        "Food",
        "cafe\u0301",
        "\ud55c\uad6d\uc5b4",
        "\u6771\u4eac",
        "\U0001f600",
        "  ",
        "\u3000",
        "\u0130",
    ):
        assert part in together, part


def test_a_blank_text_and_an_empty_one_are_drawn():
    assert {"", " "} <= set(drawn(("food",)))


def test_the_same_seed_draws_the_same_texts():
    assert drawn(("food", "staff")) == drawn(("food", "staff"))
