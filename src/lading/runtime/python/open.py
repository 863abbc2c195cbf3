"""Opens a bundle that runs in Python: allowed here, its environment built, its processes started.

An ONNX model between its steps is opened in this process. Imports nothing of the bundle, and reads none of
its other files: a model process does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lading.bundle import Bundle, Manifest
from lading.errors import CodeNotAllowed
from lading.runtime import Runtime
from lading.runtime.onnx.session import OnnxRuntime
from lading.runtime.python.environments import Environment, environments_of_host
from lading.runtime.python.host import Allow, PythonHost
from lading.runtime.python.installers import OnStep
from lading.runtime.python.process import ProcessSettings
from lading.runtime.python.session import PythonRuntime
from lading.runtime.python.steps import SteppedRuntime, core_inputs
from lading.signature import Tensor

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


def build_environment(bundle: Bundle, host: PythonHost, on_progress: OnStep = lambda _step: None) -> None:
    """Build the environment of a bundle unless it exists; raises `EnvironmentFailed` and the like."""
    store = environments_of_host(host.environments)
    lock, python = host.lock or bundle.lock(), bundle.manifest.python
    limit_s = host.build_timeout_s
    store.get(lock, python, wheels=host.wheels, timeout_s=limit_s, on_progress=on_progress)


def open_python(bundle: Bundle, host: PythonHost, *, threads: int) -> Runtime:
    """Start the processes of a bundle that is allowed here; they have loaded the model on return.

    Raises `EnvironmentFailed`, `EnvironmentPythonMissing`, `ModelInvalid`, `ModelCodeFailed`,
    `ModelProcessEnded`, `DeadlineExceeded`, the `BundleError` of a file that has changed, and what
    `OnnxRuntime` raises if there is an ONNX model between the steps.
    """
    signature = bundle.manifest.signature
    if not bundle.has_onnx:
        return _open_processes(bundle, host, threads)
    # The model first: `preprocess` is held against its inputs, and it is the quicker one to fail.
    with bundle.unchanged():
        core = OnnxRuntime(bundle.model_path, threads=threads, divisible=signature.batched)
    try:
        return SteppedRuntime(_open_processes(bundle, host, threads, core.inputs), core, signature)
    except BaseException:
        core.close()
        raise


def _open_processes(
    bundle: Bundle, host: PythonHost, threads: int, core: tuple[Tensor, ...] = ()
) -> PythonRuntime:
    """Start the processes; `core` are the inputs of the ONNX model between the steps, if there is one."""
    manifest = bundle.manifest
    store = environments_of_host(host.environments)
    lock = host.lock or bundle.lock()

    def environment() -> Environment:
        return store.get(lock, manifest.python, wheels=host.wheels, timeout_s=host.build_timeout_s)

    held = [environment()]

    @contextmanager
    def starting() -> Iterator[None]:
        # Somebody may have removed or damaged the environment, or changed the code, since the last start.
        held[0] = environment()
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
        steps=tuple(step.removeprefix("code:") for step in manifest.steps if step != "onnx"),
        preprocessed=core_inputs(core),
        memory_bytes=host.memory_bytes,
        threads=threads,
    )
    return PythonRuntime(
        settings, processes=host.processes, run_deadline_s=host.run_deadline_s, starting=starting
    )
