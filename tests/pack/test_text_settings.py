"""What `pack` is called with for a model of texts."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import InvalidSetting
from lading.pack import pack
from lading.pack.python_models import OwnCode
from lading.pack.text_settings import Texts


def test_a_tokenizer_or_the_folder_of_a_model_makes_it_one_of_texts(tmp_path):
    assert Texts(object()).belong_to(object())
    assert not Texts().belong_to(object())
    assert not Texts().belong_to(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert Texts().belong_to(tmp_path)
    # Of TensorFlow.
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert not Texts().belong_to(tmp_path)


def test_a_pooling_that_there_is_not_is_refused():
    with pytest.raises(InvalidSetting) as refused:
        Texts(object(), "max").belong_to(object())
    assert (refused.value.expected, refused.value.found) == ("one of `mean`, `cls`, `last`", "`max`")


@pytest.mark.parametrize("settings", [{"pooling": "mean"}, {"normalize": True}])
def test_settings_of_vectors_are_refused_for_a_model_without_a_tokenizer(tmp_path, settings):
    with pytest.raises(InvalidSetting) as refused:
        pack(lambda x: x, name="m", samples=np.eye(2), owner="me", to=tmp_path / "b", **settings)
    assert refused.value.where == f"`{next(iter(settings))}`"


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("python", None, OwnCode(), (), ()), "`runtime` with a tokenizer"),
        (("auto", object(), OwnCode(), (), ()), "`steps` with a tokenizer"),
        (("auto", None, OwnCode(files=["a"]), (), ()), "`files` with a tokenizer"),
        (("auto", None, OwnCode(code={"a": "a.py"}), (), ()), "`code` with a tokenizer"),
        (("auto", None, OwnCode(), "none", ()), "`batch_axis` with a tokenizer"),
        (("auto", None, OwnCode(), (), {"a": 1}), "`open_axes` with a tokenizer"),
    ],
)
def test_what_a_model_with_a_tokenizer_does_not_take_is_refused(arguments, where):
    with pytest.raises(InvalidSetting) as refused:
        Texts(object()).refuse_others(*arguments)
    assert refused.value.where == where


def test_nothing_is_refused_that_was_not_stated():
    Texts(object()).refuse_others("auto", None, OwnCode(), (), ())
