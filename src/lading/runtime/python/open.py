"""Opens a bundle that runs in Python: allowed here, its environment built, its processes started.

Imports nothing of the bundle, and reads none of its files: a model process does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lading.bundle import Bundle, Manifest
from lading.errors import CodeNotAllowed, NotSupported
from lading.runtime.python.environments import environments_of_host
from lading.runtime.python.host import Allow, PythonHost
from lading.runtime.python.process import ProcessSettings
from lading.runtime.python.session import PythonRuntime

_ALLOWED: dict[Allow, tuple[bool | str, ...]] = {
    "none": (False,),
    "code": (False, "code"),
    "pickle": (False, "code", "pickle"),
}
_WHAT = {"code": "its own code", "pickle": "a pickle, which runs whatever it says"}


def check_allowed(manifest: Manifest, allow: Allow) -> None:
    """Raise `CodeNotAllowed` if loading the bundle runs more of its own than `allow` says."""
    executes = manifest.executes
    if executes in _ALLOWED[allow]:
        return
    raise CodeNotAllowed(
        f"bundle `{manifest.name}`",
        expected="nothing of its own that runs" if allow == "none" else "its modules, and no pickle",
        found=_WHAT[str(executes)],
        hint=f"if you trust who packed it, allow it with `--allow {executes}` (LADING_ALLOW={executes})",
    )


def open_python(bundle: Bundle, host: PythonHost, *, threads: int) -> PythonRuntime:
    """Start the processes of a bundle that is allowed here; they have loaded the model on return.

    Raises `EnvironmentFailed`, `EnvironmentPythonMissing`, `ModelInvalid`, `ModelCodeFailed`,
    `ModelProcessEnded`, `DeadlineExceeded`, and the `BundleError` of a file that has changed.
    """
    manifest = bundle.manifest
    steps = tuple(step.removeprefix("code:") for step in manifest.steps if step != "onnx")
    if "onnx" in manifest.steps:
        raise NotSupported(f"bundle `{manifest.name}`", expected="steps in Python", found="the step `onnx`")
    store = environments_of_host(host.environments)
    held = [store.get(bundle.lock(), manifest.python, wheels=host.wheels)]

    @contextmanager
    def starting() -> Iterator[None]:
        # Somebody may have removed or damaged the environment, or changed the code, since the last start.
        held[0] = store.get(held[0].lock, manifest.python, wheels=host.wheels)
        with bundle.unchanged():
            yield

    # An estimator that skops has stored needs no modules of its own.
    has_code = any(name.startswith("code/") for name in manifest.files)
    settings = ProcessSettings(
        name=manifest.name,
        interpreter=held[0].interpreter,
        code=bundle.path / "code" if has_code else None,
        files=bundle.path / "files",
        entry=manifest.entry,
        inputs=manifest.signature.inputs,
        outputs=manifest.signature.outputs,
        steps=steps,
        memory_bytes=host.memory_bytes,
        threads=threads,
    )
    return PythonRuntime(
        settings, processes=host.processes, run_deadline_s=host.run_deadline_s, starting=starting
    )
