"""What a user installs: the wheel, and a serving host with nothing of the training side on it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
TRAINING_SIDE = {"scikit-learn", "pandas", "onnx", "skl2onnx", "pyarrow", "scipy", "joblib"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("distribution")]


def copied(source: Path) -> Path:
    """Copy what a wheel is built of: setuptools builds in its source's own `build`, where another may."""
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignored)
    return source


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    subprocess.run([str(ROOT / "scripts" / "assets")], check=True)
    out = tmp_path_factory.mktemp("wheel")
    source = copied(out / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)]
    subprocess.run(pip, check=True)
    (path,) = out.glob("lading_ml-*.whl")
    return path


def test_the_wheel_holds_every_module_and_says_that_it_is_typed(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = ROOT / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert modules <= names
    assert {"lading/py.typed", "lading/server/process/docs.html", "lading/monitor/report/style.css"} <= names
    assert {"lading/monitor/grafana_dashboard.json", "lading/monitor/prometheus_rules.yml"} <= names
    packed = {name.rpartition("/")[2] for name in names if name.startswith("lading/hub/static/packed/")}
    assert packed == {"package-lock.json", "uplot.LICENSE", "uplot.css", "uplot.js"}
    assert not [name for name in names if name.startswith("tests/")]


def test_a_wheel_is_not_built_without_what_pages_load_of_npm(tmp_path):
    source = copied(tmp_path / "source")
    shutil.rmtree(source / "src" / "lading" / "hub" / "static" / "packed", ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path)]
    done = subprocess.run([*pip, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "`scripts/assets` fetches it" in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.whl"))
    # An editable install has what its folder has: pages without it work, with the server's charts.
    target = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([*target, "--editable", str(source)], check=True)


@pytest.fixture(scope="module")
def host(tmp_path_factory, wheel) -> Path:
    """Make a serving host: a new environment with the serving lock and the wheel, nothing else."""
    where = tmp_path_factory.mktemp("host") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(where)], check=True)
    pip = [str(where / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--requirement", str(ROOT / "requirements" / "serve.txt")], check=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    return where / "bin"


def test_the_serving_extra_is_complete_and_installs_nothing_of_the_training_side(host):
    listed = subprocess.run(
        [str(host / "python"), "-m", "pip", "list", "--format", "json"], capture_output=True, check=True
    )
    assert not {package["name"].lower() for package in json.loads(listed.stdout)} & TRAINING_SIDE
    subprocess.run([str(host / "python"), "-m", "pip", "check"], check=True)


def test_a_serving_host_verifies_pushes_and_serves_a_bundle_packed_elsewhere(host, tmp_path):
    from support.bundles import linear_bundle

    bundle = linear_bundle(tmp_path / "iris.bundle").path
    environ = {**os.environ, "HOME": str(tmp_path), "LADING_REGISTRY": str(tmp_path / "registry")}
    environ.pop("PYTHONPATH", None)
    lading = str(host / "lading")
    subprocess.run([lading, "verify", str(bundle)], env=environ, check=True, capture_output=True)
    subprocess.run([lading, "push", str(bundle)], env=environ, check=True, capture_output=True)
    server = subprocess.Popen(
        [lading, "serve", "iris:1", "--port", "0", "--grpc-port", "0"],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = listening(server)
        wait_until_ready(url)
        body = json.dumps({"data": [[5.1, 3.5, 1.4, 0.2]]}).encode()
        request = urllib.request.Request(f"{url}/predict", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert len(json.load(answer)["prediction"]) == 3
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert server.returncode == 0


def test_a_host_with_other_packages_gives_the_bits_of_training(host, tmp_path, monkeypatch):
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    import lading

    monkeypatch.setenv("LADING_CACHE", str(tmp_path / "training"))
    random = np.random.default_rng(0)
    samples = random.normal(size=(80, 3))
    model = RandomForestClassifier(20, random_state=0).fit(samples, samples[:, 0] > 0)
    bundle = lading.pack(
        model,
        name="forest",
        owner="ml@example.com",
        samples=samples,
        runtime="python",
        to=tmp_path / "forest.bundle",
    )
    # Another numpy than in training, and no scikit-learn at all; no uv either, so that pip builds.
    pip = [str(host / "python"), "-m", "pip", "install", "--quiet", "numpy<2.4"]
    subprocess.run(pip, check=True)
    rows = random.normal(size=(50, 3))
    (tmp_path / "rows.json").write_text(json.dumps(rows.tolist()))
    environ = {**os.environ, "HOME": str(tmp_path), "LADING_CACHE": str(tmp_path / "serving")}
    environ.pop("PYTHONPATH", None)
    command = [str(host / "lading"), "predict", str(bundle.path), "--input", str(tmp_path / "rows.json")]
    done = subprocess.run(
        [*command, "--output", "probabilities", "--json"], env=environ, capture_output=True, check=True
    )
    answers = np.array(json.loads(done.stdout)["outputs"]["probabilities"])
    assert np.array_equal(answers, model.predict_proba(rows))


def listening(server: subprocess.Popen[str]) -> str:
    """Read the server's log until it says where it listens."""
    lines = []
    for line in server.stderr:
        lines.append(line)
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        if address:
            return address.group()
    raise AssertionError(f"the server ended without listening:\n{''.join(lines)}")


def wait_until_ready(url: str) -> None:
    wait_until(lambda: health(url) == "ok", 30, lambda: health(url))


def health(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return json.load(answer)["health"]
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)["reason"]
