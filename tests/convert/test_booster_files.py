"""Files that boosters saved: recognised by their content, and packed as the model that they hold."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
import xgboost

from lading.errors import ConverterFailed, ConverterMissing
from lading.pack import pack
from support.booster_models import CATEGORIES, PLAIN, THREE, TWO, OfFrame
from support.sklearn_models import OWNER


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_an_estimator_that_xgboost_saved_is_packed_with_its_labels(tmp_path, suffix):
    model = xgboost.XGBClassifier(n_estimators=3).fit(PLAIN, THREE)
    model.save_model(tmp_path / f"m{suffix}")
    bundle = pack(str(tmp_path / f"m{suffix}"), name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    assert [tensor.name for tensor in bundle.manifest.signature.outputs] == ["label", "probabilities"]
    np.testing.assert_allclose(bundle.predict(PLAIN), model.predict_proba(PLAIN), rtol=1e-5)


@pytest.mark.slow
def test_a_native_booster_that_xgboost_saved_is_packed_as_such(tmp_path):
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(PLAIN, TWO), 3)
    booster.save_model(tmp_path / "m.ubj")
    bundle = pack(tmp_path / "m.ubj", name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    assert [tensor.name for tensor in bundle.manifest.signature.outputs] == ["value"]
    np.testing.assert_allclose(bundle.predict(PLAIN), booster.predict(xgboost.DMatrix(PLAIN)), rtol=1e-5)


@pytest.mark.slow
def test_categories_of_a_data_frame_come_with_the_file_of_xgboost(tmp_path):
    frame = OfFrame.as_trained(CATEGORIES)
    model = xgboost.XGBRegressor(n_estimators=3, enable_categorical=True).fit(frame, PLAIN[:, 0])
    model.save_model(tmp_path / "m.json")
    bundle = pack(tmp_path / "m.json", name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(bundle.predict(CATEGORIES), model.predict(frame), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_booster_that_lightgbm_saved_is_packed_with_its_categories(tmp_path):
    frame = OfFrame.as_trained(CATEGORIES)
    model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(frame, PLAIN[:, 0])
    model.booster_.save_model(tmp_path / "m.txt")
    bundle = pack(tmp_path / "m.txt", name="m", samples=frame, owner=OWNER, to=tmp_path / "b")
    np.testing.assert_allclose(bundle.predict(CATEGORIES), model.predict(frame), rtol=1e-5, atol=1e-6)


def test_a_file_of_a_framework_that_is_not_installed_names_what_to_install(tmp_path):
    (tmp_path / "m.cbm").write_bytes(b"CBM1" + bytes(100))  # catboost has an environment of its own
    with pytest.raises(ConverterMissing, match="expected CatBoost, which reads the file") as refused:
        pack(tmp_path / "m.cbm", name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
    assert "`pip install catboost`" in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2]", b'{"rows": 1}', b"treetop", b"\x80\x04\x95", b"{" * 200_000]
)
def test_any_other_file_is_refused(tmp_path, content):
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(ConverterFailed, match="found another file"):
        pack(tmp_path / "m.json", name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.json", b'{"learner": {"attributes": 3}}'),
        ("m.ubj", b"{L\0\0\0\0\0\0\0\7learner{"),
        ("m.txt", b"tree\nx="),
    ],
)
def test_a_damaged_file_is_refused_in_the_words_of_its_framework(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        ConverterFailed, match=r"expected a file that (XGBoost|LightGBM) reads, found \w+Error"
    ):
        pack(tmp_path / name, name="m", samples=PLAIN, owner=OWNER, to=tmp_path / "b")
