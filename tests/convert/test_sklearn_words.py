"""The words that a model knows, by the column in which it looks for them."""

from __future__ import annotations

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder

from lading.convert.sklearn_words import known_words
from lading.convert.table import make_table

TEXTS = ["great food", "rude staff", "great staff", "rude food"]


def test_a_vectorizer_knows_its_vocabulary_and_its_stop_words():
    model = make_pipeline(CountVectorizer(stop_words=["rude"]), LogisticRegression()).fit(TEXTS, [0, 1, 0, 1])
    assert known_words(model, make_table(TEXTS, "m")) == {("X", 0): ("food", "great", "rude", "staff")}


def test_each_column_has_the_words_of_its_own_vectorizers():
    frame = pd.DataFrame({"title": TEXTS, "body": ["one", "two", "one", "two"], "port": ["S", "C", "S", "C"]})
    columns = [
        ("t", make_union(CountVectorizer(), HashingVectorizer()), "title"),
        ("b", TfidfVectorizer(), "body"),
    ]
    model = ColumnTransformer([*columns, ("p", OneHotEncoder(), ["port"])]).fit(frame)
    words = {("title", 0): ("food", "great", "rude", "staff"), ("body", 0): ("one", "two")}
    assert known_words(model, make_table(frame, "m")) == words


def test_the_words_of_a_search_are_those_of_its_best_estimator():
    inner = make_pipeline(CountVectorizer(), LogisticRegression())
    search = GridSearchCV(inner, {"logisticregression__C": [1.0]}, cv=2).fit(TEXTS, [0, 1, 0, 1])
    assert set(known_words(search, make_table(TEXTS, "m"))) == {("X", 0)}
