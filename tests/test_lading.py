"""The front door: public names that load their own part of the library when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lading


@pytest.mark.slow
@pytest.mark.parametrize("name", lading.__all__)
def test_a_public_name_is_loaded_when_it_is_first_used_and_listed_before(name):
    code = (
        f"import lading; assert {name!r} in dir(lading); assert {name!r} not in vars(lading); lading.{name}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pack", "verify"])
def test_a_public_function_stays_a_function_after_the_module_of_its_name_was_imported(name):
    code = f"import lading.{name}.environment, lading; assert callable(lading.{name}), lading.{name}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lading' has no attribute 'unpack'"):
        lading.unpack  # noqa: B018
