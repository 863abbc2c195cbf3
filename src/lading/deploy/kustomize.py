"""A kustomize folder: ``base/`` is lading's and rewritten each time, ``overlays/`` are the user's.

An existing overlay is never changed. Does not run kustomize.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lading.deploy.yamltext import Noted, document, plain
from lading.errors import InvalidSetting

KUSTOMIZATION = "kustomization.yaml"
_SCALERS = {
    "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
    "ScaledObject": ("minReplicaCount", "maxReplicaCount"),
}
"""Kinds that set the number of pods, with their fields for the least and the most."""
_HEAD = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


def write_kustomize(folder: Path, manifests: Iterable[Any], namespace: str) -> list[Path]:
    """Write the folder and return the paths of the files written. Raises `InvalidSetting` if that fails."""
    written = []
    try:
        for path, content in kustomize_files(list(manifests), namespace):
            target = folder / path
            # The user may have changed it.
            if path.parts[0] == "overlays" and target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(document(content), encoding="utf-8")
            written.append(target)
    except OSError as error:
        raise InvalidSetting(
            f"kustomize folder `{folder}`", expected="a writable folder", found=str(error)
        ) from error
    return written


def kustomize_files(manifests: list[Any], namespace: str) -> Iterator[tuple[Path, Any]]:
    """Iterate over the files of the folder: each one's path in it, and its content."""
    names = [_file_name(plain(manifest)) for manifest in manifests]
    for name, manifest in zip(names, manifests, strict=True):
        yield Path("base") / name, manifest
    yield (
        Path("base") / KUSTOMIZATION,
        Noted(
            {**_HEAD, "resources": names}, "Written by `lading deploy kubernetes`; make changes in overlays."
        ),
    )
    scalers = {plain(manifest)["kind"] for manifest in manifests} & set(_SCALERS)
    staging = _overlay(f"{namespace}-staging", [_fewer_pods(kind) for kind in sorted(scalers)])
    yield Path("overlays/staging") / KUSTOMIZATION, staging
    yield Path("overlays/production") / KUSTOMIZATION, _overlay(namespace, [])


def _overlay(namespace: str, patches: list[Any]) -> Any:
    content: dict[str, Any] = {**_HEAD, "namespace": namespace, "resources": ["../../base"]}
    if patches:
        content["patches"] = patches
    return Noted(content, "Yours: lading writes this file once and never changes it.")


def _fewer_pods(kind: str) -> Any:
    least, most = _SCALERS[kind]
    # A JSON patch (RFC 6902), which kustomize takes as a string.
    patch = [
        {"op": "replace", "path": f"/spec/{least}", "value": 1},
        {"op": "replace", "path": f"/spec/{most}", "value": 2},
    ]
    why = "Staging shows that it works, not that it can carry the load."
    return Noted({"target": {"kind": kind}, "patch": _json(patch)}, why)


def _json(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()


def _file_name(manifest: dict[str, Any]) -> str:
    # Both sides of a canary have manifests of the same kinds.
    suffix = "-canary" if manifest["metadata"]["name"].endswith("-canary") else ""
    return f"{manifest['kind'].lower()}{suffix}.yaml"
