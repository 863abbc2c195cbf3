"""``lading monitor baseline``: shown, set from the log, and removed."""

from __future__ import annotations

import numpy as np
import pytest

from support.predictions import LogMaker, chunk, served


@pytest.fixture
def log(opened, registry):
    """Log fifty answers of the first version, at noon of 2026-11-30."""
    version = opened.resolve("iris:1")
    signature = opened.manifest(version).signature
    random = np.random.default_rng(0)
    outputs = {
        "label": random.integers(0, 3, 50),
        "probabilities": random.dirichlet([1, 1, 1], 50).astype(np.float32),
    }
    inputs = {"X": random.standard_normal((50, 4)).astype(np.float32)}
    log = LogMaker(registry / "log")
    ids = [str(at) for at in range(50)]
    log.add(chunk(ids, served=served(signature), inputs=inputs, outputs=outputs))
    log.flush()
    return log


BETWEEN = ("--between", "2026-11-30T11:00", "2026-11-30T13:00")


@pytest.mark.slow
@pytest.mark.usefixtures("log")
def test_logged_rows_replace_the_profiles_until_they_are_removed(lading, opened):
    assert lading("monitor", "baseline", "iris")[1] == "the profile in each version's bundle\n"
    code, _, err = lading("monitor", "baseline", "iris", "--from-log", *BETWEEN, "--actor", "ann")
    assert code == 0, err
    assert "`iris` is compared with 50 logged rows between 2026-11-30T11:00" in err
    assert opened.monitoring.baseline("iris").set_by == "ann"
    assert "50 logged rows" in lading("monitor", "baseline", "iris")[1]
    assert "again" in lading("monitor", "baseline", "iris", "--remove")[2]
    assert opened.monitoring.baseline("iris") is None
    assert "has no baseline" in lading("monitor", "baseline", "iris", "--remove")[2]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--from-log", "--remove"), "expected --from-log or --remove"),
        (("--from-log",), "expected --from-log and --between together"),
        (BETWEEN, "expected --from-log and --between together"),
    ],
)
def test_options_that_contradict_each_other_are_refused(lading, options, expected):
    code, _, err = lading("monitor", "baseline", "iris", *options)
    assert code == 2
    assert expected in err
