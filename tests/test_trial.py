"""A bundle tried out from a notebook: answers here, a server in the background, and what is refused."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import lading
from lading.bundle import Bundle
from lading.errors import GoldenMismatch, InputUnknown, OutputUnknown, ServerUnavailable
from support.bundles import IRIS_COLUMNS, linear_bundle, linear_rows
from support.recorded_evidence import push_forged
from support.waiting import wait_until


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("trial") / "iris.bundle")


def test_a_bundle_predicts_what_the_framework_answered(bundle):
    golden = bundle.samples()
    for rows in (golden.inputs["X"], pd.DataFrame(golden.inputs["X"], columns=IRIS_COLUMNS)):
        prediction = bundle.predict(rows)
        np.testing.assert_allclose(prediction.values, golden.outputs["probabilities"], rtol=1e-5)
    assert (prediction.model, prediction.digest) == ("iris", bundle.digest)
    assert lading.predict(bundle.path, golden.inputs["X"]) == bundle.predict(golden.inputs["X"])


def test_one_row_is_an_object_or_a_row_of_a_frame(bundle):
    frame = pd.DataFrame(linear_rows(rows=2), columns=IRIS_COLUMNS)
    expected = bundle.predict(frame)[0]
    for row in (frame.iloc[0], frame.iloc[0].to_dict(), pd.Series(frame.iloc[0].tolist())):
        assert bundle.predict(row).values == [expected]
    with pytest.raises(InputUnknown, match="colour"):
        bundle.predict({**frame.iloc[0].to_dict(), "colour": 1.0})


def test_outputs_are_chosen_by_name(bundle):
    prediction = bundle.predict(linear_rows(rows=3), outputs=["label", "probabilities"])
    assert set(prediction.outputs) == {"label", "probabilities"}
    assert prediction.values == prediction.outputs["label"]
    with pytest.raises(OutputUnknown, match="found `labels`"):
        bundle.predict(linear_rows(rows=1), outputs=["labels"])


def test_a_bundle_that_does_not_hold_here_predicts_nothing(tmp_path):
    with lading.Registry.open(str(tmp_path / "registry")) as registry:
        forged = registry.fetch(push_forged(registry, tmp_path / "forged"))
        with pytest.raises(GoldenMismatch):
            forged.predict(linear_rows(rows=1))


def test_a_bundle_pushes_itself(bundle, tmp_path):
    version = bundle.push(tags=["nightly"], registry=str(tmp_path / "registry"))
    assert (str(version.ref), version.tags) == ("iris:1", ("nightly",))
    assert repr(version) == f"ModelVersion(iris:1, {bundle.digest[:19]}, nightly)"


@pytest.mark.slow
def test_a_bundle_is_served_in_the_background_until_it_is_closed(bundle):
    frame = pd.DataFrame(linear_rows(rows=2), columns=IRIS_COLUMNS)
    with lading.serve(bundle) as server:
        with server.client() as client:
            np.testing.assert_allclose(client.predict(frame).values, bundle.predict(frame).values, rtol=1e-6)
            assert client.predict(frame.iloc[0]).values == client.predict(frame)[:1]
        assert server.predict(frame.iloc[0].to_dict()).model.startswith("iris")
        assert server.url in repr(server)
    assert "closed" in repr(server)
    with lading.Client(server.url) as client, pytest.raises(ServerUnavailable):
        client.models()


@pytest.mark.slow
def test_a_server_ends_with_the_object_that_holds_it(bundle):
    server = lading.serve(bundle.path)
    url = server.url
    del server
    gc.collect()
    with lading.Client(url) as client, pytest.raises(ServerUnavailable):
        client.models()


@pytest.mark.slow
def test_a_server_ends_with_the_process_that_started_it(bundle):
    code = f"import lading; server = lading.serve({str(bundle.path)!r}); print(server.url)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with lading.Client(done.stdout.strip()) as client:
        wait_until(lambda: refused(client))


def refused(client):
    try:
        client.models()
    except ServerUnavailable:
        return True
    return False


@pytest.mark.slow
def test_what_cannot_be_served_says_why(tmp_path, bundle):
    with pytest.raises(ServerUnavailable, match=r"server of `none:1`: .* found model `none`"):
        lading.serve("none:1", registry=str(tmp_path / "registry"))
    with lading.Registry.open(str(tmp_path / "registry")) as registry:
        ref = push_forged(registry, tmp_path / "forged")
    with pytest.raises(ServerUnavailable, match=r"golden"):
        lading.serve(ref, registry=str(tmp_path / "registry"))


@pytest.mark.slow
def test_what_a_notebook_shows_is_short(bundle, tmp_path):
    evidence = lading.verify(bundle)
    texts = {
        repr(thing)
        for thing in (
            bundle,
            bundle.samples(),
            bundle.manifest.signature,
            bundle.manifest.signature.inputs[0],
            evidence,
            bundle.predict(linear_rows(rows=100)),
            lading.Registry.open(str(tmp_path / "registry")),
            lading.Client("http://127.0.0.1:8000", model="iris:1"),
        )
    }
    assert f"Bundle(iris, classification, '{bundle.path}', {bundle.digest[:19]})" in texts
    assert "Client('http://127.0.0.1:8000', model='iris:1')" in texts
    assert max(len(text) for text in texts) < 220


def test_a_bundle_from_the_front_door_is_that_of_the_package(bundle):
    assert lading.Bundle is Bundle
