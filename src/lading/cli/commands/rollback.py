"""``lading rollback``: go back to the version that was live before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, change_options, current_actor, open_registry
from lading.cli.ui.release_report import is_live, print_release, proof_text
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.registry import ModelVersion, Registry


@click.command(
    "rollback",
    short_help="Go back to the version that was live before.",
    cls=Command,
    examples=(
        "lading rollback iris",
        "lading rollback iris --to 1 --reason 'complaints from support'",
    ),
)
@click.argument("name", type=NameType())
@click.option(
    "--to",
    type=click.IntRange(min=1),
    metavar="VERSION",
    help="Version to go back to.  [default: the one that was live before]",
)
@change_options
def rollback(
    name: str, to: int | None, registry: str | None, as_json: bool, actor: str | None, reason: str
) -> None:
    """Go back immediately to the version of NAME that was live before, or drop its candidate.

    A rollback is a new release, which names the runtime that its bundle was proved on. A bundle that was
    never proved on this runtime is verified here first, and refused if it does not hold.
    """
    from lading.release import rollback_target

    with open_registry(registry) as opened:
        history = opened.releases(name)
        target = to if to is not None else rollback_target(history)
        current = history[0] if history else None
        if current is not None and target is not None and is_live(current, target):
            print_release(opened, current, None, as_json=as_json)
            printing.info(f"`{name}:{target}` is live already; nothing was changed")
            return
        evidence = None
        # The live version beside a candidate is serving now: nothing may hold up going back to it.
        if target is not None and (current is None or target != current.live):
            evidence = _prove(opened, opened.resolve(Ref(name, version=target)))
        runtime = evidence.fingerprint.id if evidence is not None else None
        restored = opened.releases.rollback(
            name, to=target, actor=current_actor(actor), runtime=runtime, reason=reason
        )
        print_release(opened, restored, evidence, as_json=as_json)
        replaced = current.candidate or current.live if current is not None else None
        instead = f" in place of `{name}:{replaced}`" if replaced is not None else ""
        proof = proof_text(opened, restored, evidence)
        printing.info(f"`{name}:{restored.live}` is live again{instead}; {proof}")
        printing.info(f"next: lading history {name}")


def _prove(registry: Registry, version: ModelVersion) -> Evidence:
    from lading.rollout.preflight import prove_here

    with printing.spinner(f"proving {version.ref}"):
        return prove_here(registry, version)
