"""Vectorizers of words: their own counts, whatever script a text is in."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from lading.errors import ConverterFailed
from lading.pack import pack
from support.nasty_texts import GREEK_TEXTS, OTHER_TEXTS, TRAINING_TEXTS
from support.sklearn_models import OWNER, answer

EVERY_TEXT = [*TRAINING_TEXTS, *GREEK_TEXTS, *OTHER_TEXTS]
REVIEWS = ["great food nice staff", "awful food rude staff", "lovely caf\u00e9"] * 20


def counts(vectorizer, tmp_path, texts=EVERY_TEXT):
    bundle = pack(vectorizer, name="m", samples=TRAINING_TEXTS[:4], owner=OWNER, to=tmp_path / "b")
    return answer(bundle, texts)["features"]


@pytest.mark.slow
def test_a_word_that_no_sample_shows_is_counted(tmp_path):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(REVIEWS, [1, 0, 1] * 20)
    samples = [text for text in REVIEWS if text.isascii()]
    bundle = pack(model, name="m", samples=samples, owner=OWNER, to=tmp_path / "b")
    answers = answer(bundle, ["caf\u00e9", "CAF\u00c9"])
    assert np.allclose(answers["probabilities"], model.predict_proba(["caf\u00e9", "CAF\u00c9"]), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"token_pattern": r"\S+"},
        {"token_pattern": r"\b[a-z]{2,}\b", "ngram_range": (1, 2)},
        {"token_pattern": r"\w+(?:-\w+)*|[!?]", "ngram_range": (1, 2)},
        {"token_pattern": r"\b[\w-]+\b"},
        {"stop_words": "english", "ngram_range": (1, 2)},
        {"ngram_range": (2, 3), "lowercase": False},
        {"tokenizer": str.split, "token_pattern": None},
        {"vocabulary": {"a": 0, "food": 1, "the food": 2, "caf\u00e9": 3, "never": 4}},
    ],
    ids=str,
)
def test_words_are_counted_as_scikit_learn_counts_them(tmp_path, parameters):
    vectorizer = CountVectorizer(**parameters).fit(TRAINING_TEXTS)
    expected = vectorizer.transform(EVERY_TEXT).toarray()
    assert np.array_equal(counts(vectorizer, tmp_path), expected)


@pytest.mark.slow
def test_greek_words_end_in_their_own_sigma(tmp_path):
    vectorizer = CountVectorizer().fit(GREEK_TEXTS)
    expected = vectorizer.transform(EVERY_TEXT).toarray()
    assert expected[:, vectorizer.vocabulary_["\u03bb\u03cc\u03b3\u03bf\u03c2"]].sum() > 0
    assert np.array_equal(counts(vectorizer, tmp_path), expected)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [None, "l1", "l2"])
def test_counts_are_weighed_as_scikit_learn_weighs_them(tmp_path, norm):
    vectorizer = TfidfVectorizer(sublinear_tf=True, norm=norm).fit(TRAINING_TEXTS)
    expected = vectorizer.transform(EVERY_TEXT).toarray()
    assert np.allclose(counts(vectorizer, tmp_path), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_texts_without_a_single_token_are_answered(tmp_path):
    vectorizer = CountVectorizer().fit(TRAINING_TEXTS)
    assert counts(vectorizer, tmp_path, ["", "! ?"]).tolist() == [[0.0] * len(vectorizer.vocabulary_)] * 2


@pytest.mark.slow
def test_two_text_columns_are_read_by_two_vectorizers(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"title": TRAINING_TEXTS, "body": TRAINING_TEXTS[::-1]})
    columns = [("t", CountVectorizer(stop_words="english", ngram_range=(1, 2)), "title")]
    columns.append(("b", CountVectorizer(analyzer="char_wb", ngram_range=(2, 3)), "body"))
    model = ColumnTransformer(columns).fit(frame)
    bundle = pack(model, name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    other = pd.DataFrame({"title": EVERY_TEXT, "body": EVERY_TEXT[::-1]})
    expected = np.asarray(model.transform(other).todense())
    assert np.array_equal(answer(bundle, other.to_dict("records"))["features"], expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "part", "way_out"),
    [
        ({"tokenizer": lambda text: text.split("|"), "token_pattern": None}, "`tokenizer`", r"\S+"),
        ({"preprocessor": str.strip}, "`preprocessor`", "before"),
        ({"analyzer": str.split}, "`analyzer`", r"\S+"),
        ({"token_pattern": r"[a-z]+(?=\s)"}, "`token_pattern`", r"\w+"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_code_and_patterns_that_onnx_cannot_have_are_refused_with_the_way_out(
    tmp_path, parameters, part, way_out
):
    vectorizer = TfidfVectorizer(**parameters).fit(["great food ", "rude staff "])
    with pytest.raises(ConverterFailed) as refusal:
        pack(vectorizer, name="m", samples=["great food "], owner=OWNER, to=tmp_path / "b")
    assert part in refusal.value.message
    assert way_out in str(refusal.value.hint)
