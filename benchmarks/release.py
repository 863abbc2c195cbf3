"""What a new version costs by each release pattern, side by side with the Dockerfile way, on this machine.

``lading image build`` (model-in-image), ``lading push`` and pull (model-load), and ``buildah bud`` of a
Dockerfile that copies the model into a fresh image, each to a real registry on this machine.
``--write`` puts the table into docs/benchmarks-release.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests")]

import httpx  # noqa: E402

from container_tools import containers  # noqa: E402
from imaging import lading, root_filesystem, run, runtime_base  # noqa: E402
from lading.image.places import open_source  # noqa: E402
from making import linear_bundle  # noqa: E402
from serving import serving  # noqa: E402
from store_servers import docker_registry, proxy  # noqa: E402

SIZES = {"1 MB": (1024, 256), "200 MB": (25_000, 2_000)}
PAGE = ROOT / "docs" / "benchmarks-release.md"
FRESH = """FROM localhost/rootfs
COPY opt /opt
COPY usr /usr
COPY bundle /lading/bundles/mega
ENTRYPOINT ["lading"]
CMD ["serve"]
"""
"""The book's shape: libraries and model copied into a fresh image. What pip would take is not counted."""

DOCKERFILE = """FROM {base}
COPY {bundle} /lading/bundles/mega
ENTRYPOINT ["lading"]
CMD ["serve"]
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lading-release-"))
    server = docker_registry(folder / "registry")
    try:
        with proxy(server.address) as through, containers(folder / "containers", through.address):
            base = f"{through.address}/runtime:1"
            run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", runtime_base(), f"docker://{base}")
            ready_context(folder, through.address)
            rows = [
                row for size in chosen.sizes for row in measure(folder, size, base, through, chosen.rounds)
            ]
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    text = table(rows)
    print(text)
    if chosen.write:
        PAGE.write_text(page(text))


def measure(folder: Path, size: str, base: str, through, rounds: int) -> Iterator[tuple[str, str, str, str]]:
    """Measure one size of model; the median of the seconds, the largest of the bytes."""
    features, classes = SIZES[size]
    place = f"{through.address}/mega-{features}"
    environ = {"LADING_REGISTRY": str(folder / f"models-{features}"), "LADING_STORE": f"oci://{place}-models"}
    bundles = [
        linear_bundle(
            folder / f"{features}-{seed}",
            "mega",
            seed=seed,
            features=features,
            classes=classes,
            labels=False,
            rows=2,
        ).path
        for seed in range(rounds)
    ]

    def build(at: int) -> None:
        lading("image", "build", bundles[at], "--base", base, "--to", f"{place}:{at}")

    def bud(at: int) -> None:
        context = folder / "context"
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(bundles[at], context / "bundle")
        (context / "Dockerfile").write_text(DOCKERFILE.format(base=base, bundle="bundle"))
        run("buildah", "bud", "--quiet", "--layers=false", "--tag", f"{place}-bud:{at}", str(context))
        run("buildah", "push", "--quiet", f"{place}-bud:{at}", f"docker://{place}-bud:{at}")

    def fresh(at: int) -> None:
        context = folder / "whole"
        shutil.rmtree(context / "bundle", ignore_errors=True)
        shutil.copytree(bundles[at], context / "bundle")
        run("buildah", "bud", "--quiet", "--no-cache", "--tag", f"{place}-fresh:{at}", str(context))
        run("buildah", "push", "--quiet", f"{place}-fresh:{at}", f"docker://{place}-fresh:{at}")

    def push(at: int) -> None:
        lading("push", bundles[at], environ=environ)

    def image_of(at: int) -> None:
        lading(
            "image", "build", f"mega:{at + 1}", "--base", base, "--to", f"{place}-both:{at}", environ=environ
        )

    def pull_image(at: int) -> None:
        run("podman", "pull", "--quiet", f"{place}:{at}")

    def pull_bundle(at: int) -> None:
        lading("pull", f"mega:{at + 1}", "--to", folder / f"pulled-{features}-{at}", environ=environ)

    run("podman", "pull", "--quiet", base)  # A host that has the runtime already.
    for name, act in (
        ("in-image: `lading image build` of a folder, pushed", build),
        ("in-image: `buildah bud` of libraries and model into a fresh image, pushed", fresh),
        ("in-image: `buildah bud` of the model onto our runtime, pushed", bud),
        ("load: `lading push` to the store", push),
        ("in-image: `lading image build` of a version in that store", image_of),
        ("in-image: pull where the runtime is", pull_image),
        ("load: `lading pull`", pull_bundle),
    ):
        seconds, sent = timed(act, through, rounds)
        yield size, name, f"{seconds:.2f} s", shown(sent) if "pull" not in name.split(":")[1] else "–"
    yield (
        size,
        "in-image: `podman run` to first prediction",
        f"{first_in_image(f'{place}:0', features):.2f} s",
        "–",
    )
    for what in ("load: `lading serve`, cold cache, to first prediction", "load: the same, warm cache"):
        yield size, what, f"{first_loaded(environ, features):.2f} s", "–"


def ready_context(folder: Path, address: str) -> None:
    """Lay out what the book's Dockerfile copies, and have the root filesystem here and in the registry."""
    whole, ground = folder / "whole", folder / "ground"
    whole.mkdir()
    ground.mkdir()
    source = open_source(runtime_base())
    for layer in json.loads(source.root().data)["layers"][1:]:
        with source.open(layer["digest"]) as file, tarfile.open(fileobj=file) as archive:
            archive.extractall(whole, filter="data")
    (whole / "Dockerfile").write_text(FRESH)
    shutil.copy(root_filesystem(), ground / "rootfs.tar")
    (ground / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
    run("buildah", "bud", "--quiet", "--tag", "localhost/rootfs", str(ground))
    run("buildah", "push", "--quiet", "localhost/rootfs", f"docker://{address}/rootfs:1")


def timed(act: Callable[[int], None], through, rounds: int) -> tuple[float, int]:
    seconds, sent = [], []
    for at in range(rounds):
        before, began = through.bytes_up, time.monotonic()
        act(at)
        seconds.append(time.monotonic() - began)
        sent.append(through.bytes_up - before)
    return statistics.median(seconds), statistics.median_low(sent)


def first_in_image(image: str, features: int) -> float:
    began = time.monotonic()
    variables = ("--env=LADING_PORT=18437", "--env=LADING_GRPC_PORT=-1", "--env=LADING_HOST=127.0.0.1")
    hardened = ("--network=host", "--read-only", "--cap-drop=all")
    identity = run("podman", "run", "--detach", *hardened, *variables, image).strip()
    ask("http://127.0.0.1:18437", features)
    took = time.monotonic() - began
    run("podman", "rm", "--force", "--time=10", identity)
    return took


def first_loaded(environ: dict[str, str], features: int) -> float:
    began = time.monotonic()
    with serving("mega:1", environ=environ) as server:
        ask(server.url, features)
        return time.monotonic() - began


def ask(url: str, features: int) -> None:
    until = time.monotonic() + 60
    body, headers = json.dumps({"data": [[0.5] * features]}), {"content-type": "application/json"}
    while time.monotonic() < until:
        try:
            if httpx.post(f"{url}/predict", content=body, headers=headers).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.01)
    raise AssertionError(f"no prediction from {url}")


def shown(sent: int) -> str:
    return f"{sent / 1e6:.2f} MB" if sent > 1e5 else f"{sent / 1e3:.1f} kB"


def table(rows: list[tuple[str, str, str, str]]) -> str:
    lines = ["| model | what | time | sent to the registry |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def page(text: str) -> str:
    return (
        "# What a new version costs\n\n"
        f"Measured by `make bench-release` on {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}: whole commands, against a docker-registry on the same "
        "machine, the median of the rounds. The runtime is in the registry and on the host already. "
        "Machines differ; ratios hold.\n\n"
        f"{text}\n"
    )


if __name__ == "__main__":
    main()
