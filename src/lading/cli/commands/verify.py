"""``lading verify``: whether a bundle holds on this machine."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.evidence_view import report_evidence
from lading.cli.ui.exit_codes import HintedUsageError
from lading.cli.ui.isolated import isolate
from lading.cli.ui.parameters import (
    FILE,
    BundleType,
    allow_option,
    json_option,
    open_bundle,
    open_registry,
    registry_option,
    timeout_option,
    wheels_option,
)
from lading.cli.ui.signers import check_signers
from lading.errors import NotFound, RegistryUnavailable
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.gates import Gates
    from lading.registry import ModelVersion, Registry

_ACTIONS = (
    ("runtime/python/resolver", "resolving versions"),
    ("runtime/python/environments", "building an environment"),
    ("runtime/", "replaying the golden samples"),
    ("verify/", "trying other versions"),
)
"""What is done in which part of lading, for a sentence about where it ended."""


@click.command(
    "verify",
    short_help="Verify that a bundle holds on this machine.",
    cls=Command,
    examples=(
        "lading verify iris.bundle",
        "lading verify iris:1 --gates gates.toml",
        "lading verify fraud:3 --signed-by ci.pub --signed-by release.pub --signatures-only",
        "lading verify churn:3 --upgrade numpy==2.5.1 --allow code",
        "lading verify churn:3 --bisect --allow code",
    ),
)
@click.argument("bundle", type=BundleType(), metavar="DIR|REF")
@click.option("--gates", type=FILE, help="TOML file of limits that the numbers must meet.")
@click.option(
    "--upgrade",
    "upgrades",
    multiple=True,
    metavar="NAME[==VERSION]",
    help="Try other packages than those of its lock, or a file of them, and say whether the answers stay; "
    "repeatable.",
)
@click.option(
    "--bisect",
    is_flag=True,
    help="Name the package that changes the answers: one that --upgrade moves, else the newest.",
)
@click.option(
    "--signed-by",
    "signers",
    multiple=True,
    type=FILE,
    metavar="KEY.pub",
    help="Public key that must have signed the bundle, before anything of it runs; repeatable: each of them.",
)
@click.option(
    "--attestations",
    "attested",
    multiple=True,
    type=FILE,
    metavar="FILE",
    help="Signatures beside those that are kept with the bundle, such as model_signing's `model.sig`.",
)
@click.option("--signatures-only", is_flag=True, help="Look at the signatures of `--signed-by` alone.")
@timeout_option(600.0, "Seconds that running the model may take in all.")
@allow_option
@wheels_option
@registry_option
@json_option
def verify(
    bundle: Ref | Path,
    gates: Path | None,
    upgrades: tuple[str, ...],
    bisect: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run every check of a bundle here; exit 0 only if all of them pass.

    The model runs in a process of its own: one that crashes or does not end is a check that failed.

    The evidence of a version is recorded in the registry (see `lading matrix`), if that can be written; that
    of a directory is only shown. Gates that compare with the live version need a registry that has one.

    With --upgrade or --bisect only the golden samples of a model in Python are replayed, in environments of
    other versions; the bundle stays as it is, and nothing is recorded.
    """
    signers, attested = options.pop("signers"), options.pop("attested")
    signatures_only = options.pop("signatures_only")
    if not signers and (attested or signatures_only):
        raise HintedUsageError("expected `--signed-by`, the key that must have signed it, found none", None)
    if signers:
        signed = check_signers(bundle, signers, attested, options["registry"])
        for line in signed:
            printing.info(line.text)
        if signatures_only:
            if as_json:
                printing.as_json({"signed_by": [line.json for line in signed]})
            return
    if upgrades or bisect:
        if gates is not None:
            raise HintedUsageError("`--gates` judges a bundle with its own lock, not other versions", None)
        # In a process of its own: another version of a library may crash where that of the lock does not.
        isolate(f"verifying `{bundle}`", _ACTIONS, timeout_s=options.pop("timeout_s"))
        _report_upgrade(bundle, upgrades, bisect=bisect, as_json=as_json, **options)
        return
    from lading.gates import Gates

    limits = Gates.read(gates) if gates is not None else None
    evidence = _evidence(bundle, limits, **options)
    report_evidence(evidence, as_json=as_json)
    made = [check for check in evidence.checks if check.outcome != "skipped"]
    skipped = len(evidence.checks) - len(made)
    checks = printing.plural(len(made), "check") + (f", {skipped} skipped," if skipped else "")
    printing.info(f"`{evidence.name}` holds here: {checks} on {_machine(evidence)}")


def _report_upgrade(
    source: Ref | Path, upgrades: tuple[str, ...], *, bisect: bool, as_json: bool, **options: Any
) -> None:
    from lading.cli.ui import upgrade_view
    from lading.runtime.python.host import this_host
    from lading.runtime.python.resolver import requirement_lines
    from lading.verify import upgrade

    host = this_host(options["allow"], options["wheels"])
    is_file = len(upgrades) == 1 and Path(upgrades[0]).is_file()
    lines = requirement_lines(Path(upgrades[0]) if is_file else list(upgrades))
    opened = open_bundle(source, options["registry"])
    name = opened.manifest.name
    if not bisect:
        with printing.steps(f"verifying {source}") as on_step:
            tried = upgrade.try_upgrade(opened, lines, host, on_step)
        upgrade_view.report_upgrade(name, tried, as_json=as_json)
        return
    with printing.steps(f"verifying {source}") as on_step, _without_tracebacks():
        bisection = upgrade.bisect(opened, lines, host, on_step)
    upgrade_view.report_bisection(name, bisection, as_json=as_json)


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Log no traceback of a trial: half of them may fail, and the report has the reasons that count."""
    log = logging.getLogger("lading.model")
    level = log.level
    # The level and not a filter: records of child loggers do not pass a parent's filter.
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _evidence(
    source: Ref | Path,
    gates: Gates | None,
    timeout_s: float,
    registry: str | None,
    allow: str | None,
    wheels: Path | None,
) -> Evidence:
    from lading.runtime.python.host import this_host
    from lading.verify import verify as verify_bundle

    python, url = this_host(allow, wheels), registry
    if isinstance(source, Path):
        with printing.spinner(f"verifying {source}"):
            live = _live(_name_in(source), gates, url)
            return verify_bundle(source, gates=gates, live=live, timeout_s=timeout_s, python=python)
    with open_registry(url) as opened, printing.spinner(f"verifying {source}"):
        live = _live(source.name, gates, url)
        bundle = opened.fetch(source)
        evidence = verify_bundle(bundle, gates=gates, live=live, timeout_s=timeout_s, python=python)
        _record(opened, evidence)
    return evidence


def _record(registry: Registry, evidence: Evidence) -> None:
    """Record the evidence; where that is not possible, say so: the question was whether the bundle holds."""
    try:
        registry.record(evidence)
    except RegistryUnavailable as error:
        printing.info(f"note: the evidence is not recorded: {error.message}")
    else:
        printing.info("evidence recorded in the registry")


def _name_in(path: Path) -> str | None:
    """Return the model's name, or None if the directory is no bundle: `verify` itself reports why."""
    from lading.bundle import Bundle
    from lading.errors import BundleError

    try:
        return Bundle.open(path).manifest.name
    except BundleError:
        return None


def _live(name: str | None, gates: Gates | None, url: str | None) -> ModelVersion | None:
    """Return the live version if a gate compares with it."""
    if name is None or gates is None or not gates.no_worse_than_live:
        return None
    with open_registry(url) as registry:
        try:
            return registry.resolve(Ref(name, tag="live"))
        except NotFound:  # Nothing is live yet; the gate reports that.
            return None


def _machine(evidence: Evidence) -> str:
    here = evidence.fingerprint
    return f"ONNX Runtime {here.onnxruntime}, Python {here.python}, {here.os} {here.arch}"
