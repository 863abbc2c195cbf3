"""``lading deploy kubernetes``: manifests to stdout, to a kustomize folder, or applied to a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.deploy_options import (
    BatchLine,
    ScalingLine,
    batch_options,
    scaling_options,
    split_parameters,
)
from lading.cli.ui.parameters import (
    RefType,
    allow_option,
    json_option,
    open_registry,
    registry_option,
)
from lading.errors import UsageError, missing_extra
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.deploy import Options, Pattern, Side, Workload
    from lading.registry import ModelVersion, Registry
    from lading.release import Release


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """The arguments and options of the command; each field has the name of its parameter."""

    ref: Ref
    pattern: Pattern | None
    image: str | None
    canary_image: str | None
    namespace: str
    secret: str
    pull_secret: str
    access_secret: str
    tls_secret: str
    metrics_secret: str
    cpus: int
    allow: str | None
    model_processes: int
    process_memory_mb: int
    wheels_claim: str
    canary: bool
    gateway: str
    kserve: bool
    folder: Path | None
    print_patch: bool
    apply: bool
    context: str | None
    as_json: bool
    scaling: ScalingLine
    batch: BatchLine


@click.command(
    "kubernetes",
    short_help="Write manifests for Kubernetes, for both release patterns.",
    cls=Command,
    examples=(
        "lading deploy kubernetes iris:3 --pattern in-image --image registry/iris@sha256:…",
        "lading deploy kubernetes iris:3 --pattern load --image registry/lading@sha256:… --kustomize ./iris",
        "lading deploy kubernetes iris --pattern load --image registry/lading@sha256:… --canary",
        "lading deploy kubernetes iris --print-patch",
        "lading deploy kubernetes iris --pattern load --image lading@sha256:… --batch --input s3://a --output s3://b",
    ),
)
@click.argument("ref", type=RefType(), metavar="NAME|REF")
@click.option(
    "--pattern",
    type=click.Choice(["in-image", "load"]),
    help="The bundle is part of the image, or an init container pulls it.",
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
    "--namespace", default="models", show_default=True, metavar="NAME", help="Namespace to create and use."
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
@click.option("--access-secret", default="", metavar="NAME", help="Secret with the file `access.toml`.")
@click.option("--tls-secret", default="", metavar="NAME", help="Secret with `tls.crt` and `tls.key`.")
@click.option(
    "--metrics-secret",
    default="",
    metavar="NAME",
    help="Secret with the key `token` by which Prometheus scrapes; makes a ServiceMonitor.",
)
@click.option("--cpus", type=click.IntRange(min=1), default=1, show_default=True, help="CPUs per pod.")
@allow_option
@click.option(
    "--model-processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes of a model in Python, per pod.",
)
@click.option(
    "--process-memory-mb",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Memory in MB that each of them may allocate.  [default: no limit, and the pod as was measured]",
)
@click.option(
    "--wheels-claim",
    default="",
    metavar="NAME",
    help="With `load`: PersistentVolumeClaim with wheels to build environments from, offline.",
)
@scaling_options
@click.option(
    "--canary", is_flag=True, help="Both sides of NAME's release, and the HTTPRoute that splits traffic."
)
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
    "--print-patch", is_flag=True, help="Only the patch that moves NAME's HTTPRoute to its current release."
)
@click.option("--apply", is_flag=True, help="Apply to the cluster instead of printing.")
@click.option(
    "--context", metavar="NAME", help="Context of the kubeconfig to apply to.  [default: the current one]"
)
@batch_options
@registry_option
@json_option
def kubernetes(registry: str | None, **parameters: Any) -> None:
    """Write manifests that run the version that REF names; the defaults are meant for production.

    With `load`, an init container pulls the bundle by its digest into the pod, and the same server serves it.
    The memory request follows from what `lading verify` measured. With `--batch`, the pod scores rows and
    ends: what follows `--` are options of `lading batch run`.
    """
    scaling, batch = split_parameters(parameters)
    line = CommandLine(**parameters, scaling=scaling, batch=batch)
    _check(line)
    with open_registry(registry) as opened:
        if line.print_patch:
            _patch_route(opened.releases.current(line.ref.name), line)
            return
        manifests = _canary_manifests(opened, line) if line.canary else _manifests(opened, line)
    _write(manifests, line)


def _manifests(registry: Registry, line: CommandLine) -> list[Any]:
    from lading.deploy.kserve import kserve_manifests
    from lading.deploy.kubernetes import manifests

    work = _workload(registry, registry.resolve(line.ref), _options(line))
    if line.batch.batch:
        from lading.deploy.batch import batch_manifests

        return batch_manifests(work, line.batch.job())
    return kserve_manifests(work) if line.kserve else manifests(work)


def _canary_manifests(registry: Registry, line: CommandLine) -> list[Any]:
    from lading.deploy.canary import canary_manifests, sides

    name = line.ref.name
    release = registry.releases.current(name)
    live, candidate = (registry.resolve(Ref(name, version=version)) for version in sides(release, name))
    assert release is not None  # `sides` raises without one.
    # With `load`, both sides run the same image and differ in the bundle that they pull.
    live_work = _workload(registry, live, _options(line))
    candidate_work = _workload(registry, candidate, _options(line, line.canary_image), "candidate")
    return canary_manifests(live_work, candidate_work, release, line.gateway)


def _workload(registry: Registry, version: ModelVersion, options: Options, side: Side = "live") -> Workload:
    """Return a version as a workload, with a note for people. Raises `CodeNotAllowed`.

    A pod whose server may not run the bundle would never be ready.
    """
    from lading.deploy import workload
    from lading.runtime.python.open import check_allowed

    manifest = registry.manifest(version)
    check_allowed(manifest, options.allow)
    runs_in_python = manifest.runtime == "python"
    evidence = registry.evidence(version.digest)
    work = workload(version, options, evidence, side, runs_in_python=runs_in_python)
    _print_memory_note(work)
    if work.builds_environment:
        printing.info(
            f"the pods build the environment of `{version.ref}` when they start: "
            "their image needs uv or pip; with `--pattern in-image` it is in the image"
        )
    return work


def _patch_route(release: Release | None, line: CommandLine) -> None:
    """Print the patch of the route, or apply it."""
    from lading.deploy import object_name
    from lading.deploy.canary import candidate_percent, weight_patch

    model = line.ref.name
    if release is None:
        hint = f"`lading release {model}:2 --canary 5,25,50,100` starts one"
        raise UsageError(f"route of `{model}`", expected="a release", found="none", hint=hint)
    patch, name = weight_patch(release), object_name(model)
    if line.apply:
        from lading.deploy.cluster import KubernetesCluster

        metadata = {"name": name, "namespace": line.namespace}
        cluster = KubernetesCluster(line.context)
        cluster.patch({"kind": "HTTPRoute", "metadata": metadata}, patch)
        _print_names("patched", [f"httproute/{name}"], line)
        printing.info(f"patched in {cluster.where}")
    else:
        printing.as_json(patch, indent=0)
    share = f"{candidate_percent(release)} % to the candidate"
    printing.info(f"release {release.number}, {release.state}: {share}")
    if release.state == "live":
        # The canary's pods run the new version; without traffic to them, the old Deployment takes it all.
        printing.info(
            f"this takes all traffic off the canary: first apply version {release.live} as `{name}`"
        )
    if not line.apply:
        printing.info(f'next: kubectl patch httproute {name} -n {line.namespace} --type=merge -p "$PATCH"')


def _write(manifests: list[Any], line: CommandLine) -> None:
    """Apply the manifests, or write them to stdout or a kustomize folder."""
    from lading.deploy.yamltext import plain

    # `--apply` and JSON need no PyYAML, so they work without the extra that brings it.
    if line.apply:
        from lading.deploy.cluster import KubernetesCluster, apply_all

        cluster = KubernetesCluster(line.context)
        names = apply_all(cluster, [plain(manifest) for manifest in manifests])
        _print_names("applied", names, line)
        printing.info(f"applied to {cluster.where}")
    elif line.folder is None and line.as_json:
        items = [plain(manifest) for manifest in manifests]
        printing.as_json({"apiVersion": "v1", "kind": "List", "items": items})
    else:
        _write_yaml(manifests, line)


def _write_yaml(manifests: list[Any], line: CommandLine) -> None:
    from lading.deploy.kustomize import write_kustomize
    from lading.deploy.yamltext import documents

    try:
        if line.folder is None:
            click.echo(printing.printable(documents(manifests)), nl=False, color=False)
            return
        written = write_kustomize(line.folder, manifests, line.namespace)
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        instead = "use `--json`, which kubectl reads too"
        raise missing_extra("`lading deploy`", "kubernetes", error, instead=instead) from None
    _print_names("written", [str(path) for path in written], line)
    printing.info(f"next: kubectl apply -k {line.folder / 'overlays' / 'staging'}")


def _print_names(key: str, names: list[str], line: CommandLine) -> None:
    if line.as_json:
        printing.as_json({key: names})
        return
    # `kind/name`, one in each line, as kubectl prints and takes them.
    for name in names:
        printing.data(name)


def _options(line: CommandLine, image: str | None = None) -> Options:
    from lading.deploy import Options
    from lading.runtime.python.host import this_host

    image = image or line.image
    assert line.pattern is not None  # `_check` raises without either.
    assert image is not None
    return Options(
        pattern=line.pattern,
        image=image,
        namespace=line.namespace,
        secret=line.secret,
        pull_secret=line.pull_secret,
        access_secret=line.access_secret,
        tls_secret=line.tls_secret,
        metrics_secret=line.metrics_secret,
        cpus=line.cpus,
        allow=this_host(line.allow).allow,
        model_processes=line.model_processes,
        process_memory_mb=line.process_memory_mb,
        wheels_claim=line.wheels_claim,
        scaling=line.scaling.scaling(),
    )


def _check(line: CommandLine) -> None:
    """Raise a usage error for options that do not go together."""
    ref = line.ref
    if not line.print_patch and line.pattern is None:
        raise click.UsageError("expected `--pattern in-image` or `--pattern load`")
    if not line.print_patch and line.image is None:
        raise click.UsageError("expected `--image`")
    if (line.canary or line.print_patch) and ref != Ref(ref.name):
        reason = "because its release decides the versions"
        raise click.UsageError(f"expected `{ref.name}` alone, {reason}; found `{ref}`")
    if line.canary and line.kserve:
        raise click.UsageError("`--canary` does not go with `--kserve`, which has canaries of its own")
    if line.canary and line.pattern == "in-image" and line.canary_image is None:
        raise click.UsageError("expected `--canary-image`, because the candidate has an image of its own")
    if line.canary_image and not (line.canary and line.pattern == "in-image"):
        raise click.UsageError("`--canary-image` needs `--canary` and `--pattern in-image`")
    if line.batch.batch and (line.canary or line.kserve or line.print_patch or not line.scaling.is_empty):
        raise click.UsageError("`--batch` goes with no option that concerns a server's pods or their traffic")
    if line.kserve and line.scaling.scale_by in ("hpa", "keda"):
        raise click.UsageError("`--autoscale` does not go with `--kserve`, which makes its own autoscaler")
    line.batch.check()
    if line.apply and line.folder:
        raise click.UsageError("expected `--apply` or `--kustomize DIR`, not both")
    if line.wheels_claim and line.pattern == "in-image":
        raise click.UsageError("`--wheels-claim` needs `--pattern load`: images hold the environment itself")
    if line.context and not line.apply:
        raise click.UsageError("`--context` needs `--apply`")


def _print_memory_note(work: Workload) -> None:
    if not work.is_measured:
        ref = work.version.ref
        printing.info(f"memory of `{ref}` is estimated from its size; `lading verify {ref}` measures it")
