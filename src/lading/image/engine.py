"""Runs images for a while with a container engine of this machine, podman or docker, if it has one.

Containers share the machine's network and have a read-only root and no capabilities, as lading's images are
meant to run.
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

START_TIMEOUT_S = 60.0
LISTENING = re.compile(r"listening on (http://\S+)")


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine, identified by its program."""

    program: str

    def pull(self, image: str, *, insecure: bool) -> str:
        """Pull an image and return its id. Raises `UsageError` with the engine's own message."""
        # An image that is only here, such as one that was just built, cannot be pulled.
        local = self._run("image", "inspect", "--format", "{{.Id}}", image, check=False)
        options = ["--tls-verify=false"] if insecure and self.program.endswith("podman") else []
        pulled = self._run("pull", "--quiet", *options, image, check=False)
        if pulled.returncode and local.returncode:
            where, actual = f"`{self.program} pull {image}`", pulled.stderr.strip()[-500:]
            raise UsageError(where, expected="the image", found=actual or "nothing")
        return (pulled.stdout or local.stdout).strip().splitlines()[-1]

    def output(self, image: str, arguments: Sequence[str]) -> str:
        """Run an image until it exits and return its stdout, whatever its exit code. Raises `UsageError`."""
        done = self._run("run", "--rm", *_HARDENED, image, *arguments, check=False)
        if not done.stdout:
            where, actual = f"`{' '.join(arguments)}` in the image", done.stderr.strip()[-500:]
            raise UsageError(where, expected="output", found=actual or "nothing")
        return done.stdout

    def start(
        self,
        image: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        folders: Mapping[Path, str] | None = None,
    ) -> Container:
        """Start an image in the background, with `folders` of this machine mounted read-only."""
        options = [f"--env={name}={value}" for name, value in environ.items()]
        options += [f"--volume={path}:{at}:ro" for path, at in (folders or {}).items()]
        started = self._run("run", "--detach", *_HARDENED, *options, image, *arguments)
        return Container(self, started.stdout.strip())

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [self.program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if check and done.returncode:
            where = f"`{self.program} {arguments[0]}`"
            raise UsageError(where, expected="exit code 0", found=done.stderr.strip()[-500:] or "an error")
        return done

    def logs(self, container: str) -> str:
        """Return what a container has written so far."""
        done = self._run("logs", container, check=False)
        return done.stdout + done.stderr

    def is_running(self, container: str) -> bool:
        """Return whether a container is running."""
        state = self._run("inspect", "--format", "{{.State.Running}}", container, check=False)
        return state.stdout.strip() == "true"

    def stop(self, container: str) -> int:
        """Stop a container by SIGTERM, remove it, and return its exit code, -1 if that is unknown."""
        # As long as a server may drain by default; after that the engine kills it.
        self._run("stop", "--time=30", container, check=False)
        state = self._run("inspect", "--format", "{{.State.ExitCode}}", container, check=False)
        self._run("rm", "--force", container, check=False)
        code = state.stdout.strip()
        return int(code) if code.isdecimal() else -1


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started."""

    engine: Engine
    id: str

    def url(self) -> str:
        """Wait until the server in it listens; return its address. Raises `ServerUnavailable`."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            # The port is chosen by the server, and only its log says which one.
            if match := LISTENING.search(self.engine.logs(self.id)):
                return match[1].replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - to connect to, not to listen on
            if not self.engine.is_running(self.id):
                break
            time.sleep(0.05)
        log = self.engine.logs(self.id).strip()[-500:]
        raise ServerUnavailable("the server in the image", expected="it to listen", found=log or "nothing")

    def stop(self) -> int:
        """Stop and remove the container; return its exit code."""
        return self.engine.stop(self.id)


# On the host's network, a server is reached without mapping its port, which it chooses itself.
_HARDENED = ("--network=host", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")


def find_engine(image: str) -> Engine | None:
    """Return the engine that can run an image, podman if both can, or None if neither can."""
    program = shutil.which("podman")
    # Docker pulls from registries only.
    if program is None and not image.startswith(("oci:", "docker-archive:")):
        program = shutil.which("docker")
    return Engine(program) if program else None
