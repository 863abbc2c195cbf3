"""A container engine of this machine, podman or docker, to run images for a while. Needs none to be there.

Containers see the machine's own network, with a read-only root and without capabilities: as lading's images
are meant to run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lading.errors import ServerUnavailable, UsageError

START_S = 60.0
_LISTENS = re.compile(r"listening on (http://\S+)")


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine by its program."""

    program: str

    def pull(self, image: str, *, insecure: bool) -> str:
        """Bring an image here and give its id. Raises `UsageError` with what the engine says."""
        known = self._run("image", "inspect", "--format", "{{.Id}}", image, check=False)
        options = ["--tls-verify=false"] if insecure and self.program.endswith("podman") else []
        pulled = self._run("pull", "--quiet", *options, image, check=False)
        if pulled.returncode and known.returncode:
            where, found = f"`{self.program} pull {image}`", pulled.stderr.strip()[-500:]
            raise UsageError(where, expected="the image", found=found or "nothing")
        return (pulled.stdout or known.stdout).strip().splitlines()[-1]

    def output(self, image: str, arguments: Sequence[str]) -> str:
        """Run an image to its end and give its stdout, however it ended."""
        done = self._run("run", "--rm", *_HARDENED, image, *arguments, check=False)
        if not done.stdout:
            where, found = f"`{' '.join(arguments)}` in the image", done.stderr.strip()[-500:]
            raise UsageError(where, expected="its answer", found=found or "nothing")
        return done.stdout

    def start(
        self,
        image: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        folders: Mapping[Path, str] | None = None,
    ) -> Container:
        """Start an image, with folders of this machine to read from."""
        options = [f"--env={name}={value}" for name, value in environ.items()]
        options += [f"--volume={path}:{at}:ro" for path, at in (folders or {}).items()]
        started = self._run("run", "--detach", *_HARDENED, *options, image, *arguments)
        return Container(self, started.stdout.strip())

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [self.program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if check and done.returncode:
            where = f"`{self.program} {arguments[0]}`"
            raise UsageError(where, expected="it to work", found=done.stderr.strip()[-500:] or "an error")
        return done

    def logs(self, container: str) -> str:
        """Return what a container has said."""
        done = self._run("logs", container, check=False)
        return done.stdout + done.stderr

    def running(self, container: str) -> bool:
        """Return whether a container runs."""
        told = self._run("inspect", "--format", "{{.State.Running}}", container, check=False)
        return told.stdout.strip() == "true"

    def end(self, container: str) -> int:
        """Stop a container by SIGTERM, give its exit code, and remove it."""
        self._run("stop", "--time=30", container, check=False)
        told = self._run("inspect", "--format", "{{.State.ExitCode}}", container, check=False)
        self._run("rm", "--force", container, check=False)
        code = told.stdout.strip()
        return int(code) if code.isdecimal() else -1


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started."""

    engine: Engine
    id: str

    def url(self) -> str:
        """Wait until the server in it listens; return its address. Raises `ServerUnavailable`."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            said = self.engine.logs(self.id)
            if found := _LISTENS.search(said):
                return found[1].replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - where it is asked
            if not self.engine.running(self.id):
                break
            time.sleep(0.05)
        said = self.engine.logs(self.id).strip()[-500:]
        raise ServerUnavailable("the server in the image", expected="it to listen", found=said or "nothing")

    def stop(self) -> int:
        """Stop and remove it; return its exit code."""
        return self.engine.end(self.id)


_HARDENED = ("--network=host", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")


def find_engine(image: str) -> Engine | None:
    """Find podman or docker to run an image; None where neither is that can."""
    program = shutil.which("podman")
    # Docker pulls from registries only.
    if program is None and not image.startswith(("oci:", "docker-archive:")):
        program = shutil.which("docker")
    return Engine(program) if program else None
