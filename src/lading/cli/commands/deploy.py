"""``lading deploy kubernetes``: manifests to stdout, into a kustomize folder, or to a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command, Group
from lading.cli.ui.parameters import RefType, json_option, open_registry, registry_option
from lading.errors import UsageError, missing_extra
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.deploy import Options, Pattern, Workload
    from lading.registry import Registry
    from lading.release import Release


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What was given on the command line; each field is named as its parameter."""

    ref: Ref
    pattern: Pattern | None
    image: str | None
    canary_image: str | None
    namespace: str
    secret: str
    pull_secret: str
    cpus: int
    canary: bool
    gateway: str
    kserve: bool
    folder: Path | None
    print_patch: bool
    apply: bool
    context: str | None
    as_json: bool


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
def kubernetes(registry: str | None, **given: Any) -> None:
    """Write manifests that run the version that REF names; the defaults are for production.

    With `load` an init container pulls the bundle by its digest into the pod, and the same server serves it.
    Memory is what `lading verify` measured.
    """
    choices = Choices(**given)
    _check(choices)
    with open_registry(registry) as opened:
        if choices.print_patch:
            _patch(opened.current(choices.ref.name), choices)
            return
        manifests = _canary(opened, choices) if choices.canary else _one(opened, choices)
    _write(manifests, choices)


def _one(registry: Registry, choices: Choices) -> list[Any]:
    from lading.deploy import workload
    from lading.deploy.kserve import kserve_manifests
    from lading.deploy.kubernetes import manifests

    version = registry.resolve(choices.ref)
    work = workload(version, _options(choices), registry.evidence(version.digest))
    _remark_memory(work)
    return kserve_manifests(work) if choices.kserve else manifests(work)


def _canary(registry: Registry, choices: Choices) -> list[Any]:
    from lading.deploy import workload
    from lading.deploy.canary import canary_manifests, sides

    name = choices.ref.name
    release = registry.current(name)
    live, candidate = (registry.resolve(Ref(name, version=one)) for one in sides(release, name))
    assert release is not None  # `sides` refuses that
    here = workload(live, _options(choices), registry.evidence(live.digest))
    beside = workload(
        candidate, _options(choices, choices.canary_image), registry.evidence(candidate.digest), "candidate"
    )
    for one in (here, beside):
        _remark_memory(one)
    return canary_manifests(here, beside, release, choices.gateway)


def _patch(release: Release | None, choices: Choices) -> None:
    """Print the patch of the route, or apply it."""
    from lading.deploy import object_name
    from lading.deploy.canary import candidate_percent, weight_patch

    model = choices.ref.name
    if release is None:
        hint = f"`lading release {model}:2 --canary 5,25,50,100` makes one"
        raise UsageError(f"route of `{model}`", expected="a release", found="none", hint=hint)
    patch, name = weight_patch(release), object_name(model)
    if choices.apply:
        from lading.deploy.cluster import KubernetesCluster

        metadata = {"name": name, "namespace": choices.namespace}
        cluster = KubernetesCluster(choices.context)
        cluster.patch({"kind": "HTTPRoute", "metadata": metadata}, patch)
        _say("patched", [f"httproute/{name}"], choices)
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
    if not choices.apply:
        printing.remark(
            f'next: kubectl patch httproute {name} -n {choices.namespace} --type=merge -p "$PATCH"'
        )


def _write(manifests: list[Any], choices: Choices) -> None:
    """Bring the manifests to where they are wanted."""
    from lading.deploy.yamltext import plain

    if choices.apply:
        from lading.deploy.cluster import KubernetesCluster, apply_all

        cluster = KubernetesCluster(choices.context)
        _say("applied", apply_all(cluster, [plain(one) for one in manifests]), choices)
        printing.remark(f"applied to {cluster.where}")
    elif choices.folder is None and choices.as_json:
        printing.as_json({"apiVersion": "v1", "kind": "List", "items": [plain(one) for one in manifests]})
    else:
        _write_yaml(manifests, choices)


def _write_yaml(manifests: list[Any], choices: Choices) -> None:
    from lading.deploy.kustomize import write_kustomize
    from lading.deploy.yamltext import documents

    try:
        if choices.folder is None:
            click.echo(printing.clean(documents(manifests)), nl=False, color=False)
            return
        written = write_kustomize(choices.folder, manifests, choices.namespace)
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        instead = "take `--json`, which kubectl reads too"
        raise missing_extra("`lading deploy`", "kubernetes", error, instead=instead) from None
    _say("written", [str(path) for path in written], choices)
    printing.remark(f"next: kubectl apply -k {choices.folder / 'overlays' / 'staging'}")


def _say(what: str, names: list[str], choices: Choices) -> None:
    if choices.as_json:
        printing.as_json({what: names})
        return
    for name in names:
        printing.data(name)


def _options(choices: Choices, image: str | None = None) -> Options:
    from lading.deploy import Options

    image = image or choices.image
    assert choices.pattern is not None  # `_check` refuses both
    assert image is not None
    return Options(
        pattern=choices.pattern,
        image=image,
        namespace=choices.namespace,
        secret=choices.secret,
        pull_secret=choices.pull_secret,
        cpus=choices.cpus,
    )


def _check(choices: Choices) -> None:
    """Refuse options that do not go together."""
    ref = choices.ref
    if not choices.print_patch and choices.pattern is None:
        raise click.UsageError("expected `--pattern in-image` or `--pattern load`")
    if not choices.print_patch and choices.image is None:
        raise click.UsageError("expected `--image`")
    if (choices.canary or choices.print_patch) and ref != Ref(ref.name):
        raise click.UsageError(
            f"expected `{ref.name}` alone, for its release says which versions; found `{ref}`"
        )
    if choices.canary and choices.kserve:
        raise click.UsageError("`--canary` is without `--kserve`, which has canaries of its own")
    if choices.canary and choices.pattern == "in-image" and choices.canary_image is None:
        raise click.UsageError("expected `--canary-image`, for the candidate is another image")
    if choices.canary_image and not (choices.canary and choices.pattern == "in-image"):
        raise click.UsageError("`--canary-image` needs `--canary` and `--pattern in-image`")
    if choices.apply and choices.folder:
        raise click.UsageError("expected `--apply` or `--kustomize DIR`, and not both")
    if choices.context and not choices.apply:
        raise click.UsageError("`--context` needs `--apply`")


def _remark_memory(work: Workload) -> None:
    if not work.is_measured:
        ref = work.version.ref
        printing.remark(f"memory of `{ref}` is estimated from its size; `lading verify {ref}` measures it")
