"""Slices that are stated when a model is packed: in the manifest, displayed, or refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from lading.bundle import Bundle
from lading.cli import group
from lading.errors import InvalidSetting
from lading.pack import pack
from support.sklearn_models import OWNER, X, Y, mixed_pipeline, passengers

IRIS = LogisticRegression(max_iter=1000).fit(X, Y)


def packed(model, samples, to, **options):
    return pack(model, name="m", owner=OWNER, samples=samples, to=to, **options)


@pytest.fixture(scope="module")
def mixed():
    frame, target = passengers()
    return mixed_pipeline(frame, target), frame


@pytest.mark.slow
def test_columns_are_stated_in_the_manifest_and_shown(mixed, tmp_path):
    model, rows = mixed
    names = ["port", "age"]
    bundle = packed(model, rows, tmp_path / "b", slices=names)
    assert bundle.manifest.slices == tuple(names)
    assert Bundle.open(bundle.path).manifest.slices == tuple(names)
    output = CliRunner().invoke(group.group, ["inspect", str(bundle.path)]).output
    assert f"slices {', '.join(names)}" in [" ".join(line.split()) for line in output.splitlines()]


@pytest.mark.slow
def test_a_text_is_one_name(mixed, tmp_path):
    model, rows = mixed
    assert packed(model, rows, tmp_path / "b", slices="port").manifest.slices == ("port",)


@pytest.mark.slow
def test_a_bundle_without_slices_is_the_same_bytes_as_one_that_was_never_asked_for_them(tmp_path):
    plain = packed(IRIS, X, tmp_path / "plain")
    empty = packed(IRIS, X, tmp_path / "empty", slices=())
    assert empty.digest == plain.digest
    assert "slices" not in json.loads((plain.path / "bundle.json").read_bytes())


@pytest.mark.parametrize(
    ("slices", "sentence"),
    [
        (("nix",), "`slices`: expected names of inputs or columns: `X`, found `nix`"),
        (("sepal", "sepal"), "`slices`: expected each name once, found `sepal` twice"),
        (("X",), r"`slices`: expected columns with cells in the profile: none, found `X`"),
    ],
)
def test_a_name_that_is_no_column_with_cells_is_refused(tmp_path, slices, sentence):
    with pytest.raises(InvalidSetting, match=sentence):
        packed(IRIS, X, tmp_path / "b", slices=slices)
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_slices_without_a_profile_are_refused_however_it_came_that_none_was_made(tmp_path):
    frame = pd.DataFrame(X[::20], columns=["a", "b", "c", "d"])
    for options in ({"profile": False}, {}):
        with pytest.raises(InvalidSetting, match="`slices`: expected a bundle with a profile, found none"):
            packed(IRIS, frame, tmp_path / "b", slices=("a",), **options)
        assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_the_lengths_of_open_texts_are_no_slices(tmp_path):
    names = [f"person {at} {'x' * (at % 7)}" for at in range(400)]
    rows = pd.DataFrame({"name": names, "city": ["Oslo", "Rome"] * 200})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    model.fit(rows, np.arange(400) % 2)
    assert packed(model, rows, tmp_path / "city", slices=("city",)).manifest.slices == ("city",)
    with pytest.raises(InvalidSetting, match="in the profile: `city`, found `name`"):
        packed(model, rows, tmp_path / "name", slices=("name",))
