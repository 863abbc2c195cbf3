"""``lading deploy kubernetes``: manifests to stdout, into a kustomize folder, or to a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli import printing
from lading.cli.command import Command, Group
from lading.cli.parameters import RefType, json_option, open_registry, registry_option
from lading.errors import ExtraMissing, UsageError
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.deploy import Options, Workload
    from lading.registry import Registry
    from lading.release import Release


@click.group(
    "deploy",
    short_help="Write what runs a model elsewhere.",
    cls=Group,
    examples=("lading deploy kubernetes iris:3 --pattern in-image --image registry/iris@sha256:…",),
)
def deploy() -> None:
    """Write what runs a model elsewhere, from a version in the registry."""


@deploy.command(
    "kubernetes",
    short_help="Manifests for Kubernetes, for both release patterns.",
    cls=Command,
    examples=(
        "lading deploy kubernetes iris:3 --pattern in-image --image registry/iris@sha256:…",
        "lading deploy kubernetes iris:3 --pattern load --image registry/lading@sha256:… --kustomize ./iris",
        "lading deploy kubernetes iris --pattern load --image registry/lading@sha256:… --canary",
        "lading deploy kubernetes iris --print-patch",
    ),
)
@click.argument("ref", type=RefType(), metavar="NAME|REF")
@click.option(
    "--pattern",
    type=click.Choice(["in-image", "load"]),
    help="The bundle is in the image, or an init container pulls it.",
)
@click.option(
    "--image", metavar="IMAGE", help="The built image by its digest; with `load`, the server's image."
)
@click.option(
    "--canary-image",
    metavar="IMAGE",
    help="With `--canary` and `in-image`: the candidate's image by its digest.",
)
@click.option(
    "--namespace", default="models", show_default=True, metavar="NAME", help="Namespace to make and use."
)
@click.option(
    "--secret",
    default="",
    metavar="NAME",
    help="Secret with LADING_REGISTRY, LADING_STORE and so on.  [default with `load`: lading-registry]",
)
@click.option(
    "--pull-secret", default="", metavar="NAME", help="Secret with the login to the image registry."
)
@click.option("--cpus", type=click.IntRange(min=1), default=1, show_default=True, help="CPUs of one pod.")
@click.option("--canary", is_flag=True, help="Both sides of NAME's release, and the HTTPRoute between them.")
@click.option(
    "--gateway",
    default="gateway",
    show_default=True,
    metavar="[NAMESPACE/]NAME",
    help="Gateway of the HTTPRoute.",
)
@click.option("--kserve", is_flag=True, help="A ServingRuntime and an InferenceService instead.")
@click.option(
    "--kustomize", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Write a kustomize folder."
)
@click.option(
    "--print-patch", is_flag=True, help="Only the patch of NAME's HTTPRoute, as its release is now."
)
@click.option("--apply", is_flag=True, help="Apply to the cluster instead of printing.")
@click.option(
    "--context", metavar="NAME", help="Context of the kubeconfig to apply to.  [default: the current one]"
)
@registry_option
@json_option
def kubernetes(ref: Ref, registry: str | None, **given: Any) -> None:
    """Write manifests that run the version that REF names; the defaults are for production.

    With `load` an init container pulls the bundle by its digest into the pod, and the same server serves it.
    Memory is what `lading verify` measured.
    """
    _check(ref, given)
    with open_registry(registry) as opened:
        if given["print_patch"]:
            _patch(opened.current(ref.name), ref, given)
            return
        manifests = _canary(opened, ref, given) if given["canary"] else _one(opened, ref, given)
    _write(manifests, given)


def _one(registry: Registry, ref: Ref, given: dict[str, Any]) -> list[Any]:
    from lading.deploy import workload
    from lading.deploy.kserve import kserve_manifests
    from lading.deploy.kubernetes import manifests

    version = registry.resolve(ref)
    work = workload(version, _options(given), registry.evidence(version.digest))
    _remark_memory(work)
    return kserve_manifests(work) if given["kserve"] else manifests(work)


def _canary(registry: Registry, ref: Ref, given: dict[str, Any]) -> list[Any]:
    from lading.deploy import workload
    from lading.deploy.canary import canary_manifests, sides

    release = registry.current(ref.name)
    live, candidate = (registry.resolve(Ref(ref.name, version=one)) for one in sides(release, ref.name))
    assert release is not None  # `sides` refuses that
    here = workload(live, _options(given), registry.evidence(live.digest))
    beside = workload(
        candidate, _options(given, given["canary_image"]), registry.evidence(candidate.digest), "candidate"
    )
    for one in (here, beside):
        _remark_memory(one)
    return canary_manifests(here, beside, release, given["gateway"])


def _patch(release: Release | None, ref: Ref, given: dict[str, Any]) -> None:
    """Print the patch of the route, or apply it."""
    from lading.deploy import object_name
    from lading.deploy.canary import candidate_percent, weight_patch

    if release is None:
        hint = f"`lading release {ref.name}:2 --canary 5,25,50,100` makes one"
        raise UsageError(f"route of `{ref.name}`", expected="a release", found="none", hint=hint)
    patch, name = weight_patch(release), object_name(ref.name)
    if given["apply"]:
        from lading.deploy.cluster import KubernetesCluster

        metadata = {"name": name, "namespace": given["namespace"]}
        cluster = KubernetesCluster(given["context"])
        cluster.patch({"kind": "HTTPRoute", "metadata": metadata}, patch)
        printing.data(f"httproute/{name}")
        printing.remark(f"patched in {cluster.where}")
    else:
        printing.as_json(patch, indent=0)
    printing.remark(
        f"release {release.number}, {release.state}: {candidate_percent(release)} % to the candidate"
    )
    if release.state == "live":
        printing.remark(
            f"this takes the traffic off the canary: apply version {release.live} as `{name}` first"
        )
    if not given["apply"]:
        printing.remark(
            f'next: kubectl patch httproute {name} -n {given["namespace"]} --type=merge -p "$PATCH"'
        )


def _write(manifests: list[Any], given: dict[str, Any]) -> None:
    """Bring the manifests to where they are wanted."""
    from lading.deploy.yamltext import plain

    if given["apply"]:
        from lading.deploy.cluster import KubernetesCluster, apply_all

        cluster = KubernetesCluster(given["context"])
        _say("applied", apply_all(cluster, [plain(one) for one in manifests]), given)
        printing.remark(f"applied to {cluster.where}")
    elif given["folder"] is None and given["as_json"]:
        printing.as_json({"apiVersion": "v1", "kind": "List", "items": [plain(one) for one in manifests]})
    else:
        _write_yaml(manifests, given)


def _write_yaml(manifests: list[Any], given: dict[str, Any]) -> None:
    from lading.deploy.kustomize import write_kustomize
    from lading.deploy.yamltext import documents

    try:
        if given["folder"] is None:
            click.echo(printing.clean(documents(manifests)), nl=False, color=False)
            return
        written = write_kustomize(given["folder"], manifests, given["namespace"])
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        hint = "pip install 'lading[kubernetes]', or take `--json`, which kubectl reads too"
        raise ExtraMissing(
            "`lading deploy`", expected="the extra `kubernetes`", found="no module `yaml`", hint=hint
        ) from None
    _say("written", [str(path) for path in written], given)
    printing.remark(f"next: kubectl apply -k {given['folder'] / 'overlays' / 'staging'}")


def _say(what: str, names: list[str], given: dict[str, Any]) -> None:
    if given["as_json"]:
        printing.as_json({what: names})
        return
    for name in names:
        printing.data(name)


def _options(given: dict[str, Any], image: str | None = None) -> Options:
    from lading.deploy import Options

    return Options(
        pattern=given["pattern"],
        image=image or given["image"],
        namespace=given["namespace"],
        secret=given["secret"],
        pull_secret=given["pull_secret"],
        cpus=given["cpus"],
    )


def _check(ref: Ref, given: dict[str, Any]) -> None:
    """Refuse options that do not go together."""
    if not given["print_patch"]:
        for name in ("pattern", "image"):
            if given[name] is None:
                raise click.UsageError(f"expected `--{name}`")
    if (given["canary"] or given["print_patch"]) and ref != Ref(ref.name):
        raise click.UsageError(
            f"expected `{ref.name}` alone, for its release says which versions; found `{ref}`"
        )
    if given["canary"] and given["kserve"]:
        raise click.UsageError("`--canary` is without `--kserve`, which has canaries of its own")
    if given["canary"] and given["pattern"] == "in-image" and given["canary_image"] is None:
        raise click.UsageError("expected `--canary-image`, for the candidate is another image")
    if given["canary_image"] and not (given["canary"] and given["pattern"] == "in-image"):
        raise click.UsageError("`--canary-image` needs `--canary` and `--pattern in-image`")
    if given["apply"] and given["folder"]:
        raise click.UsageError("expected `--apply` or `--kustomize DIR`, and not both")
    if given["context"] and not given["apply"]:
        raise click.UsageError("`--context` needs `--apply`")


def _remark_memory(work: Workload) -> None:
    if not work.is_measured:
        ref = work.version.ref
        printing.remark(f"memory of `{ref}` is estimated from its size; `lading verify {ref}` measures it")
