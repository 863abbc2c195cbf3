from __future__ import annotations

import gc
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lading.bundle.environment_lock import EnvironmentLock, Pin, lock_of
from lading.errors import EnvironmentFailed, EnvironmentPythonMissing, UsageError
from lading.runtime.python.environments import Environment, EnvironmentStore, environments_of_host
from support.package_index import PackageIndex
from support.tiny_wheels import tiny_lock, write_wheel

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ABSENT = "3.29"


@pytest.fixture(params=["uv", pytest.param("pip", marks=pytest.mark.slow)])
def installer(request) -> str:
    return request.param


@pytest.fixture
def wheels(tmp_path) -> Path:
    return tmp_path / "wheels"


@pytest.fixture
def lock(wheels) -> EnvironmentLock:
    return tiny_lock(wheels, "tiny-scale", "tiny-trees")


@pytest.fixture
def store(tmp_path, installer) -> EnvironmentStore:
    return EnvironmentStore(tmp_path / "environments", installer=installer)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    # What one test damages must not reach another through the cache of uv.
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("PIP_RETRIES", "0")


def run(environment: Environment, code: str) -> str:
    command = [environment.interpreter, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def get(store, lock, wheels, **more) -> tuple[Environment, list[str]]:
    steps: list[str] = []
    return store.get(lock, PYTHON, wheels=wheels, on_progress=steps.append, **more), steps


def test_an_environment_has_what_its_lock_names_and_nothing_else(store, lock, wheels):
    environment, steps = get(store, lock, wheels)
    assert environment.installed() == {"tiny-scale": "1.0", "tiny-trees": "1.0"}
    assert environment.path.name == f"{lock.digest.removeprefix('sha256:')}-py{PYTHON}"
    assert run(environment, "import sys, tiny_scale; print(sys.prefix, tiny_scale.version)") == (
        f"{environment.path} 1.0"
    )
    assert run(
        environment, "import importlib.util as u; print(u.find_spec('pip'), u.find_spec('numpy'))"
    ) == ("None None")
    assert len(steps) == 1
    assert names(store.root / "building") == []


def test_an_environment_is_built_once(store, lock, wheels):
    first, _ = get(store, lock, wheels)
    again, steps = get(store, lock, wheels)
    assert again.path == first.path
    assert steps == []


def test_no_file_of_an_environment_names_the_folder_in_which_it_was_built(store, wheels):
    lock = lock_of([write_wheel(wheels, "tiny-scale", scripts={"scale": "tiny_scale:version"})])
    environment, _ = get(store, lock, wheels)
    scripts = [
        path for path in (environment.path / "bin").iterdir() if b"/building/" in path.read_bytes()[:80]
    ]
    assert scripts == []


def test_a_wheel_with_another_hash_is_refused_with_its_name_and_both_hashes(store, lock, wheels):
    changed = write_wheel(wheels, "tiny-trees", files={"tiny_trees/more.py": "changed = True\n"})
    with pytest.raises(EnvironmentFailed) as refused:
        get(store, lock, wheels)
    expected = next(pin for pin in lock.pins if pin.name == "tiny-trees")
    assert refused.value.message == (
        f"environment `{lock.digest[7:19]}`: expected `tiny-trees==1.0` with {expected.hashes[0]}, "
        f"found {changed.hashes[0]}"
    )
    assert names(store.root) == ["building"]
    assert names(store.root / "building") == []


def test_of_several_hashes_the_first_is_shown_and_the_others_are_counted(store, wheels):
    wheel = write_wheel(wheels, "tiny-trees")
    lock = lock_of([Pin("tiny-trees", "1.0", tuple(f"sha256:{digit * 64}" for digit in "123"))])
    with pytest.raises(
        EnvironmentFailed, match=f"sha256:{'1' * 64} or one of 2 others, found {wheel.hashes[0]}"
    ):
        get(store, lock, wheels)


@pytest.mark.parametrize("unsafe", ["UV_NO_VERIFY_HASHES", "PIP_NO_REQUIRE_HASHES"])
def test_no_variable_of_the_user_turns_the_check_of_hashes_off(store, lock, wheels, monkeypatch, unsafe):
    monkeypatch.setenv(unsafe, "1")
    write_wheel(wheels, "tiny-trees", files={"tiny_trees/more.py": "changed = True\n"})
    with pytest.raises(EnvironmentFailed, match="tiny-trees"):
        get(store, lock, wheels)


def test_a_missing_wheel_is_named(store, lock, wheels):
    (wheels / "tiny_trees-1.0-py3-none-any.whl").unlink()
    with pytest.raises(EnvironmentFailed) as refused:
        get(store, lock, wheels)
    assert refused.value.message == (
        f"environment `{lock.digest[7:19]}`: expected a wheel of `tiny-trees==1.0` "
        f"for this Python and platform in `{wheels}`, found none"
    )


def test_another_version_in_the_place_of_a_wheel_is_refused_with_its_name(store, lock, wheels):
    (wheels / "tiny_trees-1.0-py3-none-any.whl").unlink()
    write_wheel(wheels, "tiny-trees", "1.1")
    with pytest.raises(EnvironmentFailed, match=r"a wheel of `tiny-trees==1\.0`"):
        get(store, lock, wheels)


@pytest.mark.slow
def test_a_wheel_that_holds_another_version_than_its_name_says_is_refused(store, wheels):
    lock = lock_of([write_wheel(wheels, "tiny-trees", metadata_version="1.1")])
    with pytest.raises(EnvironmentFailed, match=r"tiny[-_]trees"):
        get(store, lock, wheels)
    assert names(store.root / "building") == []


def test_a_source_archive_is_no_wheel_and_none_of_its_code_runs(store, wheels, tmp_path):
    mark = tmp_path / "ran"
    files = {
        "setup.py": f"open({str(mark)!r}, 'w')\nfrom setuptools import setup\nsetup()\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny-trees\nVersion: 1.0\n",
    }
    wheels.mkdir()
    with tarfile.open(wheels / "tiny_trees-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"tiny_trees-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    sha256 = hashlib.sha256((wheels / "tiny_trees-1.0.tar.gz").read_bytes()).hexdigest()
    lock = lock_of([Pin("tiny-trees", "1.0", (f"sha256:{sha256}",))])
    with pytest.raises(EnvironmentFailed, match=r"a wheel of `tiny-trees==1\.0`"):
        get(store, lock, wheels)
    assert not mark.exists()


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [False, True])
def test_nothing_of_a_package_runs_while_its_environment_is_built_or_compared(
    store, wheels, tmp_path, damaged
):
    mark = tmp_path / "ran"
    # A line of a .pth file runs whenever the interpreter starts.
    files = {"tiny_trees.pth": f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"}
    lock = lock_of([write_wheel(wheels, "tiny-trees", files=files)])
    environment, _ = get(store, lock, wheels)
    if damaged:
        truncate(next((environment.path / "lib").glob("python*/site-packages/tiny_trees/__init__.py")))
    environment, _ = get(store, lock, wheels)
    assert not mark.exists()
    run(environment, "pass")
    assert mark.exists()


@pytest.mark.slow
def test_packages_on_the_path_of_the_user_do_not_pass_for_installed(
    store, lock, wheels, tmp_path, monkeypatch
):
    first, _ = get(store, lock, wheels)
    site = next((first.path / "lib").glob("python*/site-packages"))
    monkeypatch.setenv("PYTHONPATH", str(site))
    second = EnvironmentStore(tmp_path / "others", installer=store._installer)
    assert get(second, lock, wheels)[0].installed() == lock.versions


@pytest.mark.slow
def test_a_python_that_the_host_lacks_is_refused_and_those_present_are_named(store, lock, wheels):
    with pytest.raises(EnvironmentPythonMissing) as refused:
        store.get(lock, ABSENT, wheels=wheels)
    assert refused.value.expected == f"Python {ABSENT}"
    assert PYTHON in refused.value.found
    with pytest.raises(UsageError, match=r"such as `3\.11`"):
        store.get(lock, "../3.11", wheels=wheels)


@pytest.mark.slow
def test_another_python_of_the_host_gets_an_environment_of_its_own(
    store, lock, wheels, tmp_path, monkeypatch
):
    programs = tmp_path / "programs"
    programs.mkdir()
    # A shim that pretends: it exists for a version that does not run.
    shim = programs / f"python{ABSENT}"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    # Pythons that are installed beside this one, as version managers have them.
    beside = [str(path.parent) for path in Path(sys.base_prefix).parent.glob("*/bin/python3.*[0-9]")]
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), *beside, os.environ["PATH"]]))
    with pytest.raises(EnvironmentPythonMissing) as refused:
        store.get(lock, ABSENT, wheels=wheels)
    assert ABSENT not in refused.value.found
    others = refused.value.found.removeprefix("Python ").removesuffix(" on this host").split(", ")
    other = next((version for version in others if version > "3.11"), None)
    if other is None:
        pytest.skip("this host has one Python only")
    environment = store.get(lock, other, wheels=wheels)
    assert run(environment, "import sys, tiny_trees; print('%d.%d' % sys.version_info[:2])") == other


def test_without_a_cache_an_environment_is_built_all_the_same(lock, wheels, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "file" / "cache"))
    store = EnvironmentStore(tmp_path / "environments", installer="uv")
    assert get(store, lock, wheels)[0].installed() == lock.versions


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(3)


DAMAGES = {
    "a file cut off": lambda site: truncate(site / "tiny_trees" / "__init__.py"),
    "a file missing": lambda site: (site / "tiny_trees" / "__init__.py").unlink(),
    "a package missing": lambda site: subprocess.run(["rm", "-r", *site.glob("tiny_trees*")], check=True),
    "a package more": lambda site: (site / "tiny_trees-1.0.dist-info").rename(site / "other-1.0.dist-info"),
    "another version": lambda site: (site / "tiny_trees-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-trees\nVersion: 1.1\n"
    ),
    "no interpreter": lambda site: (site.parents[2] / "bin" / "python").unlink(),
    "no marker": lambda site: (site.parents[2] / "environment.lock").unlink(),
    "another marker": lambda site: truncate(site.parents[2] / "environment.lock"),
    "nothing left": lambda site: subprocess.run(["rm", "-r", *site.parents[2].iterdir()], check=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_environment_is_built_again(store, lock, wheels, damage):
    environment, _ = get(store, lock, wheels)
    DAMAGES[damage](next((environment.path / "lib").glob("python*/site-packages")))
    again, steps = get(store, lock, wheels)
    assert [step.split()[0] for step in steps] == ["removing", "installing"]
    assert again.installed() == lock.versions
    assert run(again, "import tiny_trees; print(tiny_trees.version)") == "1.0"
    assert get(store, lock, wheels)[1] == []


GETTING = """
import sys
from pathlib import Path
from lading.bundle.environment_lock import read_lock
from lading.runtime.python.environments import EnvironmentStore
root, lock, python, installer, wheels = sys.argv[1:6]
store = EnvironmentStore(Path(root), installer=installer)
environment = store.get(
    read_lock(Path(lock).read_bytes()),
    python,
    wheels=Path(wheels) if wheels else None,
    on_progress=lambda step: print(step, flush=True),
)
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def getting(store, lock, wheels, **environ) -> Iterator[subprocess.Popen]:
    """Ask for the environment in a process of its own, which then uses it until its stdin is closed."""
    file = store.root.parent / "asked.lock"
    file.write_bytes(lock.to_bytes())
    command = [sys.executable, "-c", GETTING, store.root, file, PYTHON, store._installer, wheels or ""]
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_processes_that_ask_together_build_one_environment(store, lock, wheels):
    with (
        getting(store, lock, wheels) as first,
        getting(store, lock, wheels) as second,
        getting(store, lock, wheels) as third,
    ):
        printed = [process.communicate()[0].splitlines() for process in (first, second, third)]
    assert [lines[-1] for lines in printed] == ["ready"] * 3
    assert sum(line.startswith("installing") for lines in printed for line in lines) == 1
    assert names(store.root) == [get(store, lock, wheels)[0].path.name, "building"]
    assert names(store.root / "building") == []


@pytest.fixture
def hung_index() -> Iterator[str]:
    """A package index that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://user:secret@127.0.0.1:{server.getsockname()[1]}/simple"


def descendants(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, row.split())) for row in done.stdout.splitlines()]
    children = [child for child, parent in pairs if parent == pid]
    return children + [below for child in children for below in descendants(child)]


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_that_is_used_and_the_next_one_removes_it(
    store, lock, wheels, hung_index
):
    index = {"PIP_INDEX_URL": hung_index, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    with getting(store, lock, None, **index) as process:
        assert process.stdout.readline().startswith("installing")
        folder = None
        while folder is None:
            folder = next((path for path in (store.root / "building").glob("*/bin/python")), None)
        below = descendants(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(names(store.root / "building")) >= 2
    began = time.monotonic()
    environment, steps = get(store, lock, wheels)
    assert time.monotonic() - began < 20, "it waited for what the killed process had started"
    assert environment.installed() == lock.versions
    assert names(store.root / "building") == []
    assert steps[-1].startswith("installing")
    assert not [pid for pid in below if Path(f"/proc/{pid}/cmdline").exists() and is_running(pid)]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_a_build_that_does_not_end_is_given_its_time(store, lock, hung_index, monkeypatch):
    for name, value in {"INDEX_URL": hung_index, "CONFIG_FILE": os.devnull, "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(EnvironmentFailed, match="found no end after 2 s"):
        get(store, lock, None, timeout_s=2)
    assert names(store.root / "building") == []


@pytest.mark.slow
def test_without_a_connection_one_sentence_says_so_and_holds_no_address(store, lock, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    index = f"http://user:secret@127.0.0.1:{port}/simple"
    for name, value in {"INDEX_URL": index, "CONFIG_FILE": os.devnull, "FIND_LINKS": ""}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(EnvironmentFailed) as refused:
        get(store, lock, None)
    assert refused.value.message.endswith(
        "expected packages from the package index, found no connection to it"
    )
    assert str(port) not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.fixture
def index(wheels, tmp_path, monkeypatch) -> Iterator[PackageIndex]:
    """A package index with a password, in the configuration of pip and not in that of uv."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_")) and "RETRIES" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with PackageIndex(wheels) as server:
        address = server.address("user:secret")
        (tmp_path / "pip.conf").write_text(
            f"[global]\nindex-url = {address}\nextra-index-url =\nfind-links =\n"
        )
        yield server


@pytest.mark.slow
def test_wheels_come_from_the_index_that_pip_is_configured_with(store, lock, index):
    environment, _ = get(store, lock, None)
    assert environment.installed() == lock.versions
    assert sum(path.endswith(".whl") for path in index.asked) == 2
    texts = [path.read_bytes() for path in environment.path.rglob("*") if path.is_file()]
    assert not any(b"secret" in text for text in texts)


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_index_that_refuses_is_named_by_its_status_and_not_by_its_address(store, lock, index, status):
    index.refuse_with = status
    with pytest.raises(EnvironmentFailed) as refused:
        get(store, lock, None)
    assert refused.value.message.endswith(f"expected packages from the package index, found status {status}")
    assert "secret" not in str(refused.value)
    assert "127.0.0.1" not in str(refused.value)


@pytest.mark.slow
def test_a_package_that_the_index_does_not_have_is_named(store, lock, index, wheels):
    (wheels / "tiny_trees-1.0-py3-none-any.whl").unlink()
    with pytest.raises(
        EnvironmentFailed, match=r"a wheel of `tiny-trees==1\.0` .* in the package index, found none"
    ):
        get(store, lock, None)


@pytest.mark.slow
def test_a_wheel_that_the_index_has_replaced_is_refused_with_both_hashes(store, lock, index, wheels):
    changed = write_wheel(wheels, "tiny-trees", files={"tiny_trees/more.py": "changed = True\n"})
    with pytest.raises(
        EnvironmentFailed, match=f"`tiny-trees==1.0` with sha256:.*, found {changed.hashes[0]}"
    ):
        get(store, lock, None)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    assert os.geteuid() == 0, "a file system of a given size takes root"
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_named_and_nothing_is_left_on_it(small_disk, wheels, installer):
    store = EnvironmentStore(small_disk / "environments", installer=installer)
    text = "".join(f"line_{at} = {at}\n" for at in range(90_000))
    lock = lock_of([write_wheel(wheels, "tiny-large", files={"tiny_large/lines.py": text})])
    with pytest.raises(EnvironmentFailed) as refused:
        get(store, lock, wheels)
    assert refused.value.message.endswith("expected room on the disk, found none left")
    assert names(store.root) == ["building"]
    assert names(store.root / "building") == []
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert get(store, lock, wheels)[0].installed() == lock.versions


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, lock, wheels, installer):
    (tmp_path / "file").write_text("")
    store = EnvironmentStore(tmp_path / "file" / "environments", installer=installer)
    with pytest.raises(
        EnvironmentFailed, match="expected to read and write them, found not a directory"
    ) as refused:
        get(store, lock, wheels)
    assert "LADING_CACHE" in refused.value.hint


@pytest.fixture
def three(wheels, tmp_path) -> tuple[EnvironmentStore, list[EnvironmentLock]]:
    store = EnvironmentStore(tmp_path / "environments")
    locks = [tiny_lock(wheels, name) for name in ("tiny-a", "tiny-b", "tiny-c")]
    for at, lock in enumerate(locks):
        environment, _ = get(store, lock, wheels)
        os.utime(environment.path, (at, at))
        environment.release()
    return store, locks


@pytest.mark.slow
def test_gc_removes_the_least_recently_used_until_the_bound(three):
    store, locks = three
    size = sum(
        path.lstat().st_size for path in next(store.root.glob("*-py*")).rglob("*") if not path.is_dir()
    )
    removed = store.gc(max_bytes=2 * size + 100)
    assert [entry.digest for entry in removed] == [locks[0].digest]
    assert removed[0].python == PYTHON
    assert abs(removed[0].size_bytes - size) < 100
    assert store.gc(max_bytes=2 * size + 100) == []
    assert len(names(store.root)) == 3


@pytest.mark.slow
def test_gc_only_says_what_it_would_remove_and_keeps_what_was_used_lately(three):
    store, locks = three
    used_at = {entry.digest: entry.used_at for entry in store.gc(dry_run=True)}
    assert [*used_at] == [lock.digest for lock in locks]
    assert len(names(store.root)) == 4
    assert [entry.digest for entry in store.gc(before=used_at[locks[1].digest])] == [locks[0].digest]
    held, _ = get(store, locks[1], store.root)
    assert [entry.digest for entry in store.gc(dry_run=True)] == [locks[2].digest]
    held.release()


@pytest.mark.slow
def test_gc_keeps_what_it_is_asked_to_keep_and_what_a_process_uses(three, wheels):
    store, locks = three
    asked = EnvironmentStore(store.root, installer="uv")
    with getting(asked, locks[1], wheels) as process:
        assert process.stdout.readline() == "ready\n"
        removed = store.gc(keep={locks[0].digest})
        assert [entry.digest for entry in removed] == [locks[2].digest]
        process.kill()
        process.wait()
    assert {entry.digest for entry in store.gc()} == {locks[0].digest, locks[1].digest}
    assert names(store.root) == ["building"]


@pytest.mark.slow
def test_an_environment_is_in_use_for_as_long_as_its_object_lives(three, wheels):
    store, locks = three
    environment, _ = get(store, locks[0], wheels)
    assert [entry.digest for entry in store.gc()] == [lock.digest for lock in locks[1:]]
    del environment
    gc.collect()
    assert [entry.digest for entry in store.gc()] == [locks[0].digest]


@pytest.mark.slow
def test_a_bounded_store_makes_room_after_a_build_but_keeps_the_new_environment(wheels, tmp_path):
    store = EnvironmentStore(tmp_path / "environments", max_bytes=0)
    first, _ = get(store, tiny_lock(wheels, "tiny-a"), wheels)
    first.release()
    second, _ = get(store, tiny_lock(wheels, "tiny-b"), wheels)
    assert names(store.root) == sorted([second.path.name, "building"])


@pytest.mark.slow
def test_the_environments_of_a_host_are_in_its_cache_and_bounded_by_a_setting(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("LADING_CACHE", str(tmp_path / "cached"))
    monkeypatch.setenv("LADING_ENVIRONMENTS_MAX_BYTES", "0")
    first, _ = get(environments_of_host(), tiny_lock(wheels, "tiny-a"), wheels)
    first.release()
    second, _ = get(environments_of_host(), tiny_lock(wheels, "tiny-b"), wheels)
    assert names(tmp_path / "cached" / "environments") == sorted([second.path.name, "building"])


@pytest.mark.slow
def test_an_environment_that_came_with_the_image_is_used_and_nothing_is_built(store, lock, wheels, tmp_path):
    ready = get(store, lock, wheels)[0].path
    nowhere = EnvironmentStore(tmp_path / "none", installer="pip", ready=store.root)
    environment, steps = get(nowhere, lock, None)
    assert (environment.path, steps) == (ready, [])
    assert not nowhere.root.exists()


def test_an_environment_of_the_image_that_was_changed_is_refused_by_name(store, lock, wheels, tmp_path):
    path = get(store, lock, wheels)[0].path
    (metadata,) = path.glob("lib/*/site-packages/tiny_trees-*.dist-info/METADATA")
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 2.0"))
    changed = EnvironmentStore(tmp_path / "none", ready=store.root)
    expected = r"found `tiny-trees==2\.0` instead of `tiny-trees==1\.0`"
    with pytest.raises(EnvironmentFailed, match=expected) as caught:
        get(changed, lock, wheels)
    assert "build and pull the image again" in caught.value.hint
    assert not changed.root.exists()


@pytest.mark.slow
def test_environments_are_whole_while_others_are_built_and_removed(wheels, tmp_path):
    store = EnvironmentStore(tmp_path / "environments")
    locks = [tiny_lock(wheels, name) for name in ("tiny-a", "tiny-b")]
    failures: list[Exception] = []
    stop = threading.Event()

    def use(turn: int) -> None:
        try:
            for at in range(4):
                lock = locks[(turn + at) % 2]
                environment, _ = get(store, lock, wheels)
                assert environment.installed() == lock.versions
                environment.release()
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    def remove() -> None:
        try:
            while not stop.is_set():
                store.gc()
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    users = [threading.Thread(target=use, args=(turn,)) for turn in range(2)]
    remover = threading.Thread(target=remove)
    for thread in (*users, remover):
        thread.start()
    for thread in users:
        thread.join()
    stop.set()
    remover.join()
    assert failures == []
