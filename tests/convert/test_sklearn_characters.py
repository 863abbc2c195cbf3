"""Vectorizers of characters, and of words without accents."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from lading.errors import ConverterFailed
from lading.pack import pack
from support.nasty_texts import GREEK_TEXTS, OTHER_TEXTS, TRAINING_TEXTS
from support.sklearn_models import OWNER, answer

EVERY_TEXT = [*TRAINING_TEXTS, *GREEK_TEXTS, *OTHER_TEXTS]


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        {"analyzer": "char", "ngram_range": (1, 3)},
        {"analyzer": "char", "ngram_range": (2, 2), "lowercase": False, "strip_accents": "unicode"},
        {"analyzer": "char_wb", "ngram_range": (1, 2)},
        {"analyzer": "char_wb", "ngram_range": (5, 6), "strip_accents": "ascii"},
        {"strip_accents": "unicode"},
        {"strip_accents": "ascii", "ngram_range": (1, 2)},
        {"strip_accents": "unicode", "token_pattern": r"[a-z]{3,}", "ngram_range": (2, 2)},
        {"strip_accents": "unicode", "token_pattern": r"\S+", "stop_words": ["the", "great"]},
    ],
    ids=str,
)
def test_characters_are_counted_as_scikit_learn_counts_them(tmp_path, parameters):
    vectorizer = CountVectorizer(**parameters).fit([*TRAINING_TEXTS, *GREEK_TEXTS])
    bundle = pack(vectorizer, name="m", samples=TRAINING_TEXTS[:4], owner=OWNER, to=tmp_path / "b")
    answers = answer(bundle, EVERY_TEXT)["features"]
    assert np.array_equal(answers, vectorizer.transform(EVERY_TEXT).toarray())


@pytest.mark.slow
def test_stop_words_in_n_grams_without_accents_are_refused_with_the_way_out(tmp_path):
    vectorizer = CountVectorizer(strip_accents="unicode", stop_words="english", ngram_range=(1, 2))
    with pytest.raises(ConverterFailed, match="strip_accents") as refusal:
        pack(vectorizer.fit(TRAINING_TEXTS), name="m", samples=TRAINING_TEXTS, owner=OWNER, to=tmp_path / "b")
    assert "ngram_range=(1, 1)" in str(refusal.value.hint)
