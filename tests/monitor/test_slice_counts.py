"""Labelled rows by slice: wrong and right, of what the log has of a version."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from lading.errors import InputMissing, UsageError
from lading.monitor.log.reader import open_log
from lading.monitor.slice_counts import count_slices
from lading.registry import Registry
from lading.server.observe.prediction_log import Privacy
from lading.signature import Tensor
from support.predictions import NOON, LogMaker, chunk, served
from support.sliced_models import REGIONS, SlicedLog, sliced_bundle

pytestmark = pytest.mark.slow

ROWS = 300


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as opened:
        yield opened


@pytest.fixture
def version(tmp_path, registry):
    return registry.push(sliced_bundle(tmp_path / "bundle", slices=("region", "amount")))


def counted(registry, version, log: SlicedLog, **changes):
    manifest = msgspec.structs.replace(registry.manifest(version), **changes)
    return count_slices(registry, open_log(str(log.maker.root)), version, manifest, NOON, NOON + 3600)


def logged(registry, version, tmp_path, *, wrong: str = "east", **options) -> tuple[SlicedLog, dict]:
    """Return a log in which every labelled row of one region is wrong, and its regions with their rows."""
    log = SlicedLog(tmp_path / "log", registry.fetch(version), **options)
    ids, inputs, outputs = log.add(NOON, ROWS, 0)
    half = slice(0, ROWS // 2)
    regions = inputs["region"][half]
    log.label(ids[half], outputs["label"][half], regions != wrong, NOON + 600)
    log.flush()
    return log, {name: int((regions == name).sum()) for name in REGIONS}


def test_rows_with_a_label_are_counted_by_the_cells_of_every_column(registry, version, tmp_path):
    log, regions = logged(registry, version, tmp_path)
    counts = counted(registry, version, log)
    expected = {
        f"region = {name}": (rows, 0) if name == "east" else (0, rows) for name, rows in regions.items()
    }
    assert {name: each for name, each in counts.items() if name.startswith("region")} == expected
    amounts = [each for name, each in counts.items() if name.startswith("amount")]
    assert np.array(amounts).sum(0).tolist() == [regions["east"], ROWS // 2 - regions["east"]]
    assert len(amounts) > 10


def test_only_the_inputs_that_slices_are_of_have_to_be_logged(registry, version, tmp_path):
    log, regions = logged(registry, version, tmp_path, privacy=Privacy(excluded=frozenset({"amount"})))
    counts = counted(registry, version, log, slices=("region",))
    assert counts["region = south"] == (0, regions["south"])
    with pytest.raises(InputMissing, match="`amount`, found no such column"):
        counted(registry, version, log)


def test_an_input_that_is_logged_as_a_hash_names_no_slice(registry, version, tmp_path):
    privacy = Privacy(hashed=frozenset({"region"}), key=b"secret")
    log, _ = logged(registry, version, tmp_path, privacy=privacy)
    counts = counted(registry, version, log, slices=("region",))
    assert list(counts) == ["region = unseen"]


def test_a_row_whose_caller_asked_for_probabilities_alone_counts_as_one_with_its_label(
    registry, version, tmp_path
):
    signature = registry.manifest(version).signature
    scores = Tensor(name="probabilities", dtype="float32", shape=("batch", 2), columns=("0", "1"))
    signature = msgspec.structs.replace(signature, outputs=(*signature.outputs, scores))
    log, digest = LogMaker(tmp_path / "log"), version.digest
    inputs = {"region": np.array(["north"] * 4, object), "amount": np.ones(4, np.float32)}
    yes, no = (0.1, 0.9), (0.9, 0.1)
    asked = {
        "a": {"label": np.array([1, 1, 0, 0])},
        "b": {"probabilities": np.array([yes, yes, yes, no], np.float32)},
        "c": {"label": np.array([1, 1, 1, 1]), "probabilities": np.array([no] * 4, np.float32)},
    }
    for name, outputs in asked.items():
        model = served(signature, "iris")
        model.digest = digest
        log.add(chunk([name], rows=[4], served=model, inputs=inputs, outputs=outputs, ended_at=[NOON]))
        log.label(name, *["yes"] * 4, at=NOON + 60)
    log.flush()
    manifest = msgspec.structs.replace(registry.manifest(version), signature=signature, slices=("region",))
    counts = count_slices(registry, open_log(str(log.root)), version, manifest, NOON, NOON + 3600)
    assert counts == {"region = north": (2 + 1, 2 + 3 + 4)}


def test_a_model_that_names_no_class_and_columns_without_cells_are_refused(registry, version, tmp_path):
    log, _ = logged(registry, version, tmp_path)
    with pytest.raises(UsageError, match=r"slices of `iris:1`: expected columns with cells in the profile"):
        counted(registry, version, log, slices=("nix",))
    signature = registry.manifest(version).signature
    number = (Tensor(name="value", dtype="float32", shape=("batch",)),)
    with pytest.raises(UsageError, match="a model that names a class for each row"):
        counted(registry, version, log, signature=msgspec.structs.replace(signature, outputs=number))
