"""Where a bundle is packed to: what is replaced, and what never is."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import lading
from lading.errors import DestinationExists, LadingError

ROWS = np.random.default_rng(0).normal(size=(64, 3))
FACTS = {"name": "m", "owner": "ml@example.com", "samples": ROWS}


def fitted(seed=0):
    weights = np.random.default_rng(seed).normal(size=3)
    return LogisticRegression().fit(ROWS, ROWS @ weights > 0)


@pytest.mark.slow
def test_a_bundle_is_replaced_once_the_new_one_holds(tmp_path):
    place = tmp_path / "m.bundle"
    first = lading.pack(fitted(), to=place, **FACTS)
    with pytest.raises(DestinationExists) as caught:
        lading.pack(fitted(1), to=place, **FACTS)
    assert "`overwrite=True` in Python" in caught.value.hint
    second = lading.pack(fitted(1), to=place, overwrite=True, **FACTS)
    assert second.digest != first.digest
    assert (second.path, lading.Bundle.open(place).digest) == (place, second.digest)
    assert [path.name for path in tmp_path.iterdir()] == ["m.bundle"]


def test_a_model_that_is_refused_leaves_the_bundle_as_it_was(tmp_path):
    place = tmp_path / "m.bundle"
    first = lading.pack(fitted(), to=place, **FACTS)
    with pytest.raises(LadingError):
        lading.pack(LogisticRegression(), to=place, overwrite=True, **FACTS)
    assert lading.Bundle.open(place).digest == first.digest
    assert [path.name for path in tmp_path.iterdir()] == ["m.bundle"]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_but_a_bundle_is_replaced(tmp_path, kind):
    place = tmp_path / "m.bundle"
    match kind:
        case "folder":
            place.mkdir()
            (place / "thesis.txt").write_text("years")
        case "file":
            place.write_text("years")
        case "link":
            lading.pack(fitted(), to=tmp_path / "other.bundle", **FACTS)
            place.symlink_to(tmp_path / "other.bundle")
    with pytest.raises(DestinationExists, match="something that is no bundle"):
        lading.pack(fitted(), to=place, overwrite=True, **FACTS)
    assert place.is_symlink() == (kind == "link")
    assert place.exists()
