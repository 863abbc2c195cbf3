from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lading.bundle.environment_lock import read_lock
from lading.errors import DISTRIBUTION, EnvironmentFailed, RequirementsRefused, UsageError
from lading.pack.requirements import find_owners, lock_requirements
from lading.runtime.python.environments import EnvironmentStore
from lading.runtime.python.resolver import Resolver
from support.tiny_wheels import write_wheel

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NUMPY = ("numpy", np.__version__)


@pytest.fixture(params=["uv", pytest.param("pip", marks=pytest.mark.slow)])
def resolver(request, tmp_path) -> Resolver:
    """Resolve from a folder that holds a wheel of numpy of the version installed here."""
    write_wheel(tmp_path / "wheels", *NUMPY)
    return Resolver(wheels=tmp_path / "wheels", installer=request.param)


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder on the path into which wheels are unpacked as an installer would."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def install(site: Path, wheels: Path, name: str, version: str = "1.0", **wheel) -> Path:
    """Write a wheel and unpack it; return the folder of its metadata."""
    write_wheel(wheels, name, version, **wheel)
    module = name.replace("-", "_")
    with zipfile.ZipFile(wheels / f"{module}-{version}-py3-none-any.whl") as archive:
        archive.extractall(site)
    importlib.invalidate_caches()
    return site / f"{module}-{version}.dist-info"


@pytest.fixture
def imported(monkeypatch):
    """Import modules, and forget them at the end."""

    def use(*names: str) -> set[str]:
        before = set(sys.modules)
        for name in names:
            importlib.import_module(name)
        return set(sys.modules) - before | set(names)

    before = set(sys.modules)
    yield use
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.slow
def test_auto_locks_what_was_imported_at_the_versions_here_and_what_that_needs(
    site, resolver, imported, monkeypatch
):
    wheels = resolver.wheels
    install(site, wheels, "tiny-trees", "1.5", requires=["tiny-base>=1", "tiny-win; sys_platform == 'win32'"])
    install(site, wheels, "tiny-base", "1.2")
    install(site, wheels, "tiny-unused")
    for version in ("1.0", "2.0"):  # on the index, and not here
        write_wheel(wheels, "tiny-base", version)
        write_wheel(wheels, "tiny-trees", version)
    locked = lock_requirements("auto", modules=imported("tiny_trees", "json"), resolver=resolver)
    assert locked.lock.versions == {"numpy": NUMPY[1], "tiny-base": "1.2", "tiny-trees": "1.5"}
    assert read_lock(locked.lock.to_bytes()) == locked.lock
    assert locked.python == PYTHON
    alone = lock_requirements(modules=["tiny_trees"], resolver=replace(resolver, dependencies=False))
    assert alone.lock.versions == {"numpy": NUMPY[1], "tiny-trees": "1.5"}
    assert locked.own_modules == ()


@pytest.mark.slow
def test_numpy_is_in_every_lock(resolver):
    assert lock_requirements([], resolver=resolver).lock.versions == {"numpy": NUMPY[1]}
    assert lock_requirements("auto", modules=[], resolver=resolver).lock.versions == {"numpy": NUMPY[1]}


@pytest.mark.slow
def test_what_is_stated_wins_over_what_is_installed_and_the_rest_is_as_here(site, resolver):
    wheels = resolver.wheels
    install(site, wheels, "tiny-trees", "1.5", requires=["tiny-base"])
    install(site, wheels, "tiny-base", "1.2")
    write_wheel(wheels, "tiny-trees", "1.4", requires=["tiny-base"])
    write_wheel(wheels, "tiny-base", "9.0")
    lock = lock_requirements(["Tiny_Trees == 1.4", f"numpy=={NUMPY[1]}"], resolver=resolver).lock
    assert lock.versions == {"numpy": NUMPY[1], "tiny-base": "1.2", "tiny-trees": "1.4"}
    lock = lock_requirements(["tiny-trees"], resolver=resolver).lock
    assert lock.versions["tiny-trees"] == "1.5"


@pytest.mark.slow
def test_a_file_of_requirements_is_read_as_pip_reads_it(resolver, tmp_path):
    pin = write_wheel(resolver.wheels, "tiny-trees", "1.4")
    write_wheel(resolver.wheels, "tiny-base")
    file = tmp_path / "requirements.txt"
    lines = [
        "\ufeff# the model",
        "tiny-trees==1.4 \\",
        f"    --hash={pin.hashes[0]}",
        "",
        "tiny-base  # scales",
        "",
    ]
    file.write_text("\r\n".join(lines), newline="")
    lock = lock_requirements(file, resolver=resolver).lock
    assert lock.versions == {"numpy": NUMPY[1], "tiny-base": "1.0", "tiny-trees": "1.4"}
    assert lock_requirements(str(file), resolver=resolver).lock == lock


@pytest.mark.slow
def test_a_wheel_without_the_hash_that_its_line_states_is_refused(resolver):
    pin = write_wheel(resolver.wheels, "tiny-trees")
    other = f"sha256:{'1' * 64}"
    with pytest.raises(RequirementsRefused) as refused:
        lock_requirements([f"tiny-trees==1.0 --hash={other}"], resolver=resolver)
    assert "`tiny-trees==1.0`" in refused.value.expected
    assert refused.value.found == pin.hashes[0]
    both = [f"tiny-trees==1.0 --hash={other} --hash={pin.hashes[0]}"]
    assert pin in lock_requirements(both, resolver=resolver).lock.pins


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-r other.txt", "found `-r`"),
        ("--extra-index-url https://x/secret/simple", "found `--extra-index-url`"),
        ("-e .", "found `-e`"),
        ("tiny-trees @ https://x/secret/tiny.whl", "found `tiny-trees` by address"),
        ("https://x/secret/tiny.whl", "by address"),
        ("tiny-trees=1.0", "found `tiny-trees=1.0`\nhint: write `tiny-trees==1.0`"),
        ("./tiny.whl", "found `./tiny.whl`"),
    ],
)
def test_a_line_that_is_no_package_by_name_is_refused_without_its_address(line, sentence):
    with pytest.raises(RequirementsRefused) as refused:
        lock_requirements([line])
    assert sentence in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_that_does_not_exist_is_named():
    with pytest.raises(UsageError, match=r"requirements `automatic`: expected `auto`, a list"):
        lock_requirements("automatic")


@pytest.mark.slow
def test_versions_that_contradict_each_other_are_refused_with_the_reason(site, resolver):
    wheels = resolver.wheels
    install(site, wheels, "tiny-base", "1.2")
    write_wheel(wheels, "tiny-trees", "1.4", requires=["tiny-base>=2"])
    write_wheel(wheels, "tiny-base", "2.0")
    with pytest.raises(RequirementsRefused) as refused:
        lock_requirements(["tiny-trees==1.4"], resolver=resolver)
    assert refused.value.expected == "versions that go together"
    assert "tiny-trees" in refused.value.found or "requirements.txt" in refused.value.found
    assert "installed here" in refused.value.hint
    lock = lock_requirements(["tiny-trees==1.4", "tiny-base>=2"], resolver=resolver).lock
    assert lock.versions["tiny-base"] == "2.0"


@pytest.mark.slow
def test_a_package_without_a_wheel_is_named(site, resolver, imported):
    install(site, resolver.wheels, "tiny-trees", "1.5")
    (resolver.wheels / "tiny_trees-1.5-py3-none-any.whl").unlink()
    with pytest.raises(
        RequirementsRefused, match=r"a wheel of `tiny-trees(==1\.5)?` .*, found none"
    ) as refused:
        lock_requirements("auto", modules=imported("tiny_trees"), resolver=resolver)
    assert "pip wheel" in refused.value.hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("origin", "place"),
    [
        ({"url": "file:///x", "dir_info": {"editable": True}}, "a folder"),
        ({"url": "file:///x", "dir_info": {}}, "a folder"),
        ({"url": "https://x/r", "vcs_info": {"vcs": "git", "commit_id": "1"}}, "a source repository"),
    ],
)
def test_an_imported_package_that_came_from_a_folder_is_refused(site, resolver, imported, origin, place):
    info = install(site, resolver.wheels, "tiny-trees")
    (info / "direct_url.json").write_text(json.dumps(origin))
    with pytest.raises(RequirementsRefused) as refused:
        lock_requirements("auto", modules=imported("tiny_trees"), resolver=resolver)
    assert refused.value.found == f"`tiny-trees 1.0`, installed from {place}"
    assert "code of the bundle" in refused.value.hint
    # Not imported, it is no constraint either.
    write_wheel(resolver.wheels, "tiny-trees", "2.0")
    assert lock_requirements(["tiny-trees"], resolver=resolver).lock.versions["tiny-trees"] == "2.0"


@pytest.mark.slow
def test_a_package_installed_from_another_file_of_its_version_is_refused(site, resolver, imported):
    info = install(site, resolver.wheels, "tiny-trees")
    modules = imported("tiny_trees")
    lock = lock_requirements("auto", modules=modules, resolver=resolver).lock
    own = next(pin for pin in lock.pins if pin.name == "tiny-trees").hashes[0].removeprefix("sha256:")
    for sha256 in (own, "1" * 64):
        origin = {"url": "file:///x.whl", "archive_info": {"hashes": {"sha256": sha256}}}
        (info / "direct_url.json").write_text(json.dumps(origin))
        if sha256 == own:
            assert lock_requirements("auto", modules=modules, resolver=resolver).lock == lock
    with pytest.raises(RequirementsRefused, match=f"installed here, sha256:{'1' * 64}, found sha256:{own}"):
        lock_requirements("auto", modules=modules, resolver=resolver)


@pytest.mark.slow
def test_lading_is_in_no_lock(site, resolver, imported):
    wheels = resolver.wheels
    locked = lock_requirements("auto", modules=["lading", "lading.pack"], resolver=resolver)
    assert locked.lock.versions == {"numpy": NUMPY[1]}
    write_wheel(wheels, DISTRIBUTION)
    install(site, wheels, "tiny-trees", requires=[DISTRIBUTION])
    with pytest.raises(RequirementsRefused, match=f"packages without lading, found `{DISTRIBUTION}`"):
        lock_requirements("auto", modules=imported("tiny_trees"), resolver=resolver)
    with pytest.raises(RequirementsRefused, match="packages without lading"):
        lock_requirements([DISTRIBUTION], resolver=resolver)


@pytest.mark.slow
def test_modules_that_no_distribution_owns_are_the_models_own(site, resolver, imported):
    (site / "churn.py").write_text("import churn_parts.scale\n")
    (site / "churn_parts").mkdir()
    (site / "churn_parts" / "scale.py").write_text("")
    locked = lock_requirements("auto", modules=imported("churn"), resolver=resolver)
    assert locked.own_modules == ("churn", "churn_parts")
    assert locked.lock.versions == {"numpy": NUMPY[1]}


@pytest.mark.slow
def test_of_distributions_that_share_a_namespace_those_are_taken_whose_parts_were_imported(
    site, resolver, imported
):
    for name in ("tiny-red", "tiny-blue"):
        part = name.removeprefix("tiny-")
        install(
            site,
            resolver.wheels,
            name,
            files={f"colours/{part}/__init__.py": "", f"colours/{part}_one.py": ""},
        )
    assert find_owners(imported("colours.red"))[0] == {"tiny-red"}
    assert find_owners(imported("colours.blue_one"))[0] == {"tiny-blue"}
    assert find_owners(["colours"])[0] == {"tiny-red", "tiny-blue"}


def python(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


# scipy's extensions also enter themselves as modules of their own (`_ni_label`).
@pytest.mark.slow
@pytest.mark.parametrize("same_process", [True, False])
def test_the_modules_of_a_real_library_are_its_distributions_and_nobodys_own(same_process):
    imports = "import sys; before = set(sys.modules); import sklearn.linear_model, scipy.ndimage\n"
    modules = f"{{*{(python(imports + 'print(*set(sys.modules) - before)')[0]).split()!r}}}"
    ask = "from lading.pack.requirements import find_owners\n"
    ask += f"owners, own = find_owners({modules}); print(*sorted(owners)); print(*own)"
    owners, own = python(imports + ask if same_process else ask)
    assert {"joblib", "numpy", "scikit-learn", "scipy", "threadpoolctl"} <= set(owners.split())
    assert own == ""


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_numpy_is_locked_from_the_index_and_computes_in_its_environment(installer, tmp_path):
    lock = lock_requirements(["numpy"], resolver=Resolver(installer=installer)).lock
    assert lock.versions == {"numpy": NUMPY[1]}
    environment = EnvironmentStore(tmp_path, installer=installer).get(lock, PYTHON)
    command = [environment.interpreter, "-c", "import numpy; print(numpy.__version__, numpy.arange(4).sum())"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{NUMPY[1]} 6\n"


@pytest.mark.slow
def test_without_a_connection_the_sentence_says_so_and_holds_no_address(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    with pytest.raises(EnvironmentFailed) as refused:
        lock_requirements(["numpy"], resolver=Resolver(installer="uv"))
    assert refused.value.message == (
        "requirements: expected packages from the package index, found no connection to it"
    )
    assert "127.0.0.1" not in str(refused.value)
