"""Checks that are stated when a model is packed: in the manifest, in force, and shown."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import lading
from lading.bundle.formats.v2 import Check
from lading.cli import group
from lading.errors import InvalidSetting

FACTS = {"name": "iris", "owner": "ml@example.com"}


@pytest.fixture(scope="module")
def data():
    import pandas
    from sklearn.datasets import load_iris

    rows = load_iris()
    names = [name.removesuffix(" (cm)").replace(" ", "_") for name in rows.feature_names]
    return pandas.DataFrame(rows.data, columns=names), rows.target


@pytest.fixture(scope="module")
def model(data):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(*data)


@pytest.mark.slow
def test_checks_of_a_mapping_and_of_a_file_are_in_the_manifest(model, data, tmp_path):
    file = tmp_path / "checks.toml"
    file.write_text('[petal_width]\nmaximum = 3\nat_most = "petal_length"\n')
    stated = {"petal_width": {"maximum": 3, "at_most": "petal_length"}}
    for number, checks in enumerate((stated, file, str(file))):
        bundle = lading.pack(model, **FACTS, samples=data[0], checks=checks, to=tmp_path / str(number))
        (check,) = bundle.manifest.checks
        assert check == Check(input="X", column="petal_width", maximum=3.0, at_most="petal_length")
        assert bundle.manifest.format == 2


def test_the_checks_in_force_are_shown(model, data, tmp_path):
    bundle = lading.pack(
        model, **FACTS, samples=data[0], checks={"petal_width": {"maximum": 3}}, to=tmp_path / "iris"
    )
    output = CliRunner().invoke(group.group, ["inspect", str(bundle.path)]).output
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "petal_width range 0 to 3 stated" in lines
    assert any(line.startswith("petal_length range 0 to") and line.endswith("profile") for line in lines)


@pytest.mark.slow
def test_no_row_of_the_data_that_a_model_was_packed_with_fails_a_check(model, data, tmp_path):
    from lading.input_checks.compiled import Checks
    from lading.input_checks.stated_rules import rules_of

    bundle = lading.pack(model, **FACTS, samples=data[0], to=tmp_path / "iris")
    manifest = bundle.manifest
    checks = Checks(rules_of(manifest.signature, bundle.profile, manifest.checks), manifest.signature)
    assert checks
    rows = data[0].to_numpy(np.float32)
    assert not checks.counts({"X": rows}).any()
    assert checks.counts({"X": rows * 1000}).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ({"petal": {"maximum": 3}}, "`checks`: expected columns of the model"),
        ({"petal_width": {"most": 3}}, "`checks`, `petal_width`"),
        ("nowhere.toml", "expected a file of checks"),
    ],
)
def test_checks_that_cannot_be_meant_are_refused_and_nothing_is_left(model, data, tmp_path, checks, message):
    with pytest.raises(InvalidSetting, match=message):
        lading.pack(model, **FACTS, samples=data[0], checks=checks, to=tmp_path / "iris")
    assert list(tmp_path.iterdir()) == []
