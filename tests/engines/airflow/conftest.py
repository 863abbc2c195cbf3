"""An Airflow of its own over a real PostgreSQL, a registry with versions of a model, and rows to score."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from lading.bundle import Bundle
from lading.bundle.writer import add_profile
from lading.profile.encoding import encode
from lading.profile.measure import measure
from lading.registry import Registry
from lading.release import EventDraft, Plan
from lading.runtime.host.fingerprint import fingerprint
from lading.runtime.open import load_runtime
from support.bundles import IRIS_COLUMNS, linear_bundle
from support.recorded_evidence import record_evidence

# Airflow makes its folder as soon as it is imported, and it has deprecations of its own to warn of.
_HOME = tempfile.TemporaryDirectory(prefix="lading-airflow-")
os.environ["AIRFLOW_HOME"] = _HOME.name
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lading.airflow  # noqa: F401 - for the modules that it loads


@pytest.fixture(autouse=True)
def own_registry(tmp_path, monkeypatch) -> str:
    """Name a registry of the test's own, which does not exist yet; no setting of the developer is used."""
    for name in [name for name in os.environ if name.startswith("LADING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LADING_REGISTRY", str(tmp_path / "registry"))
    return str(tmp_path / "registry")


@pytest.fixture(scope="session")
def filled(tmp_path_factory) -> Path:
    """Return a registry to copy: iris:1 to 3, which are proved here; 1 is live, 3 has other classes."""
    folder = tmp_path_factory.mktemp("filled")
    with Registry.open(str(folder / "registry")) as opened:
        for number, (seed, classes) in enumerate(((0, 3), (1, 3), (2, 4)), 1):
            opened.push(packed(folder / f"{number}.bundle", seed, classes))
            record_evidence(opened, f"iris:{number}", fingerprint())
        opened.releases.begin("iris", 1, actor="ada")
    return folder / "registry"


@pytest.fixture
def registry(own_registry, filled) -> str:
    """Return the test's own registry, with three versions of iris."""
    shutil.copytree(filled, own_registry)
    return own_registry


def packed(path: Path, seed: int, classes: int) -> Bundle:
    """Write a bundle with the profile of rows as `table` makes them."""
    bundle = linear_bundle(path, seed=seed, classes=classes)
    inputs = {"X": np.stack([table(4000)[name] for name in IRIS_COLUMNS], axis=1).astype(np.float32)}
    outputs = load_runtime(bundle, threads=1).run_whole(inputs)
    return add_profile(bundle, encode(measure(bundle.manifest.signature, inputs, outputs)))


def table(rows: int, *, low: float = 0.0, high: float = 7.0) -> pa.Table:
    """Make rows as those that the model was packed with, unless `low` and `high` say otherwise."""
    values = np.random.default_rng(rows).uniform(low, high, (rows, 4))
    columns = {name: values[:, at] for at, name in enumerate(IRIS_COLUMNS)}
    return pa.table({**columns, "customer_id": np.arange(rows)})


@pytest.fixture
def rows(tmp_path) -> Callable[..., Path]:
    """Return a function that writes a file of rows below `rows`."""

    def write(name: str, rows: int = 1000, **values: float) -> Path:
        path = tmp_path / "rows" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table(rows, **values), path)
        return path

    return write


@pytest.fixture
def canary(registry) -> str:
    """Begin a canary release of iris:2, number 2; return the registry."""
    with Registry.open(registry) as opened:
        opened.releases.begin("iris", 2, Plan(mode="canary", steps=(10, 100)), actor="ada")
    return registry


@pytest.fixture
def end(registry) -> Callable[[str], None]:
    """Return a function that ends the current release as its driver would."""

    def end(state: str) -> None:
        with Registry.open(registry) as opened:
            release = opened.releases.current("iris")
            kind = "promoted" if state == "live" else "rolled_back"
            draft = EventDraft(kind=kind, actor="rollout", reason="3 % more errors")
            opened.releases.change(release, event=draft, state=state, reason="3 % more errors")

    return end


@pytest.fixture
def airflow(tmp_path, postgres, registry) -> dict[str, str]:
    """Return the environment of an Airflow with a database, a folder for DAGs and no examples."""
    url = postgres.database()
    environ = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__FERNET_KEY": "nmsNYlGbxr4bLDTZAUzkOPt9Ijfu2FJ2nOpdRHDzC0I=",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url.replace("postgresql://", "postgresql+psycopg://"),
        "IRIS_DATA": str(tmp_path),
    }
    (tmp_path / "dags").mkdir()
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(migrate, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return environ | {"TEST_DATABASE": url}
