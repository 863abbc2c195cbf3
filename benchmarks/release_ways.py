"""The ways by which a new version comes to where it runs: two patterns, and two Dockerfiles to compare with.

Each way says what is run; `release` measures it. Registry, podman and buildah are real, nothing is cached
but what the way itself would cache.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from lading.image.references import open_source
from support.images import lading, root_filesystem, run, runtime_base

WHOLE = """FROM {address}/rootfs:1
COPY opt /opt
COPY usr /usr
COPY bundle /lading/bundles/mega
ENTRYPOINT ["lading"]
CMD ["serve"]
"""
"""Most images' shape: libraries and model copied into a fresh image. What pip would take is not counted."""

ONTO = """FROM {address}/runtime:1
COPY bundle /lading/bundles/mega
CMD ["serve"]
"""
"""What a whole Dockerfile becomes once the runtime is an image of its own."""


HARDENED = ("--network=host", "--read-only", "--cap-drop=all")


@dataclass(frozen=True)
class Yard:
    """Where all of it happens: a scratch folder, and a registry that holds runtime and root filesystem."""

    folder: Path
    address: str

    @property
    def runtime(self) -> str:
        return f"{self.address}/runtime:1"


@dataclass(frozen=True)
class Model:
    """A model with several versions, each a bundle's directory."""

    size: str
    features: int
    bundles: list[Path]


class ImageBuild:
    """Model-in-image by ``lading image build``: built and pushed in one step."""

    name = "`lading image build`"
    builds = False

    def __init__(self, yard: Yard, model: Model) -> None:
        self._yard, self._model = yard, model
        self.image = f"{yard.address}/image-{model.features}"

    def build(self, at: int) -> None:
        """Do nothing: nothing is made here that is not in the registry at once."""

    def push(self, at: int) -> str:
        to = f"{self.image}:{at}"
        return lading("image", "build", self._model.bundles[at], "--base", self._yard.runtime, "--to", to)

    def pull(self, at: int) -> None:
        """Bring a host what it keeps."""
        run("podman", "pull", "--quiet", f"{self.image}:{at}")

    def fetch(self, at: int, pod: Path) -> None:
        """Bring one replica what it keeps for itself: nothing."""

    def serve(self, at: int, pod: Path) -> list[str]:  # noqa: ARG002 - as model-load needs it
        """Return the image, and what goes before and behind it on podman's command line."""
        return [f"{self.image}:{at}"]

    def drop(self, at: int, pod: Path) -> None:  # noqa: ARG002 - as model-load needs it
        """Take a version from the host; what others share with it stays."""
        run("podman", "rmi", "--force", f"{self.image}:{at}")


class Dockerfile(ImageBuild):
    """Model-in-image by ``buildah bud`` of a Dockerfile: copied onto the runtime."""

    name = "`buildah bud`, model onto the runtime"
    builds = True
    text, folder = ONTO, "onto"

    def __init__(self, yard: Yard, model: Model) -> None:
        super().__init__(yard, model)
        self.image = f"{yard.address}/{self.folder}-{model.features}"
        self._context = yard.folder / self.folder
        (self._context / "Dockerfile").write_text(self.text.format(address=yard.address))

    def build(self, at: int) -> None:
        run("buildah", "bud", "--quiet", "--no-cache", "--tag", f"{self.image}:{at}", str(self._context))

    def push(self, at: int) -> str:
        return run("buildah", "push", "--quiet", f"{self.image}:{at}", f"docker://{self.image}:{at}")

    def ready(self, at: int) -> None:
        """Copy the bundle to where the Dockerfile finds it, as a checkout would."""
        shutil.rmtree(self._context / "bundle", ignore_errors=True)
        shutil.copytree(self._model.bundles[at], self._context / "bundle")


class WholeDockerfile(Dockerfile):
    """The same with the libraries: every image is fresh."""

    name = "`buildah bud`, the whole Dockerfile"
    text, folder = WHOLE, "whole"


class Load:
    """Model-load: pushed to the store, fetched by an init container as in our manifests."""

    name = "model-load"
    builds = False

    def __init__(self, yard: Yard, model: Model) -> None:
        self._yard, self._model = yard, model
        self._registry = yard.folder / f"models-{model.features}"
        self._registry.mkdir()
        self._store = f"oci://{yard.address}/store-{model.features}"
        self.environ = {"LADING_REGISTRY": str(self._registry), "LADING_STORE": self._store}

    def build(self, at: int) -> None:
        """Do nothing: the bundle is what is pushed."""

    def push(self, at: int) -> str:
        return lading("push", self._model.bundles[at], environ=self.environ)

    def image_of(self, at: int, to: str) -> None:
        """Make an image of a version that the store has."""
        where = f"{self._yard.address}/{to}:{at}"
        lading(
            "image",
            "build",
            f"mega:{at + 1}",
            "--base",
            self._yard.runtime,
            "--to",
            where,
            environ=self.environ,
        )

    def pull(self, at: int) -> None:  # noqa: ARG002 - every version is served by the same image
        run("podman", "pull", "--quiet", self._yard.runtime)

    def fetch(self, at: int, pod: Path) -> None:
        wanted = ("pull", f"mega:{at + 1}", "--to", "/lading/bundles/mega")
        if (pod / "mega").exists():
            return
        pod.mkdir(exist_ok=True)
        run(
            "podman",
            "run",
            "--rm",
            *HARDENED,
            *self._named(),
            *self._mounted(pod),
            self._yard.runtime,
            *wanted,
        )

    def serve(self, at: int, pod: Path) -> list[str]:  # noqa: ARG002 - the pod has its version
        return [*self._mounted(pod), self._yard.runtime, "serve"]

    def drop(self, at: int, pod: Path) -> None:  # noqa: ARG002 - the pod has its version
        shutil.rmtree(pod)

    def serve_cached(self, at: int, cache: Path) -> list[str]:
        """The same without an init container: the server fetches, into a cache that replicas share."""
        shared = (f"--volume={cache}:/cache", "--env=LADING_CACHE=/cache")
        return [*self._named(), *shared, self._yard.runtime, "serve", f"mega:{at + 1}"]

    def _named(self) -> list[str]:
        # The catalog is a folder of this machine, root's as we are.
        mounted = f"--volume={self._registry}:/registry"
        return ["--user=0", mounted, "--env=LADING_REGISTRY=/registry", f"--env=LADING_STORE={self._store}"]

    def _mounted(self, pod: Path) -> list[str]:
        return [f"--volume={pod}:/lading/bundles"]


Way = ImageBuild | Load


def fill(yard: Yard) -> None:
    """Put runtime and root filesystem into the registry, and prepare what Dockerfiles copy."""
    base, ground = runtime_base(), yard.folder / "ground"
    run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", base, f"docker://{yard.runtime}")
    for name in ("whole", "onto", "ground"):
        (yard.folder / name).mkdir()
    source = open_source(base)
    for layer in json.loads(source.root().data)["layers"][1:]:
        with source.open(layer["digest"]) as file, tarfile.open(fileobj=file) as archive:
            archive.extractall(yard.folder / "whole", filter="data")
    shutil.copy(root_filesystem(), ground / "rootfs.tar")
    (ground / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
    rootfs = f"{yard.address}/rootfs:1"
    run("buildah", "bud", "--quiet", "--tag", rootfs, str(ground))
    run("buildah", "push", "--quiet", rootfs, f"docker://{rootfs}")


def builder(yard: Yard) -> None:
    """Load into the builder what a builder has: the images that Dockerfiles begin with."""
    for name in ("rootfs", "runtime"):
        run("podman", "pull", "--quiet", f"{yard.address}/{name}:1")


def forget() -> None:
    """Make the host one that has nothing."""
    run("podman", "rm", "--all", "--force", "--time=5")
    run("podman", "rmi", "--all", "--force")
