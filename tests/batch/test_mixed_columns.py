"""A model with texts, whole numbers and floats: the same rows get the same answers in every form."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pyarrow.parquet
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import lading
from lading.batch.run import Options, run_batch


@pytest.mark.slow
def test_texts_and_numbers_of_every_form_are_scored_alike(tmp_path):
    draw = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "city": draw.choice(["Seoul", "Busan", "제주, 서귀포"], 300),
            "age": draw.integers(18, 80, 300),
            "income": draw.normal(3, 1, 300),
        }
    )
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]), (StandardScaler(), ["age", "income"])
    )
    target = np.where((frame.income > 3) & (frame.city != "Busan"), "yes", "no")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, target)
    facts = {"name": "mixed", "owner": "tests@example.com", "purpose": "classification"}
    bundle = lading.pack(model, samples=frame[:50], to=tmp_path / "mixed", **facts)
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    lines = (json.dumps(row, ensure_ascii=False) for row in frame.to_dict("records"))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    tables = []
    for form in ("parquet", "csv", "jsonl"):
        run = run_batch(bundle, [tmp_path / f"rows.{form}"], tmp_path / form, Options(processes=1))
        assert (run.manifest.scored, run.manifest.rejected) == (300, 0)
        tables.append(pyarrow.parquet.read_table(next((tmp_path / form).glob("part-*"))))
    assert tables[1].equals(tables[0])
    assert tables[2].equals(tables[0])
    assert tables[0]["label"].to_pylist() == model.predict(frame).tolist()
