"""``lading attest``: somebody states something about a bundle, or brings what others have stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lading.cli.ui import printing
from lading.cli.ui.attestation_view import (
    attestation_json,
    author_of,
    imported_texts,
    keep,
    passphrase_option,
    stated_bundle,
)
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import (
    FILE,
    BundleType,
    actor_option,
    current_actor,
    json_option,
    open_registry,
    reason_option,
    registry_option,
)
from lading.errors import UsageError
from lading.ref import Ref


@click.command(
    "attest",
    short_help="Approve a bundle, or attest what is known of it.",
    cls=Command,
    examples=(
        "lading attest fraud:3 --approve --key ann.pem --reason 'four eyes'",
        "lading attest fraud:3 --predicate evidence --key ci.pem",
        "lading attest fraud:3 --predicate https://example.com/bias/v1 --evidence bias.json --key ci.pem",
        "lading attest fraud:3 --import model.sig",
    ),
)
@click.argument("bundle", type=BundleType(), metavar="DIR|REF")
@click.option("--key", "key_file", type=FILE, metavar="KEY.pem", help="Private key that signs.")
@passphrase_option
@click.option(
    "--predicate",
    metavar="TYPE",
    help="What is stated: `approval`, `evidence`, `release`, or a URI of your own.",
)
@click.option("--approve", is_flag=True, help="The same as `--predicate approval`.")
@click.option(
    "--evidence",
    "file",
    type=FILE,
    help="JSON that is stated, such as that of `lading verify --json`; of a version the newest evidence "
    "in the registry, if none is named.",
)
@click.option(
    "--import",
    "imported",
    type=FILE,
    metavar="FILE",
    help="Keep what somebody else has signed: a sigstore bundle or a DSSE envelope, one in each line.",
)
@actor_option
@reason_option
@registry_option
@json_option
def attest(bundle: Ref | Path, registry: str | None, as_json: bool, **options: Any) -> None:
    """State something about the bundle in DIR, or about the version that REF names.

    An approval is what the second person states where a trust policy asks for two; a release says that it may
    go live. Evidence must be about this very bundle, and hold. What is stated is kept as signatures are:
    beside the directory, or in the registry.
    """
    predicate = _predicate(options["predicate"], approve=options["approve"])
    manifest, digest, title = stated_bundle(bundle, registry)
    if options["imported"] is not None:
        if predicate is not None or options["key_file"] is not None:
            raise click.UsageError("expected `--import` alone: what it brings is signed already")
        actor = current_actor(options["actor"])
        texts = _imported(options["imported"], digest)
    else:
        if predicate is None:
            raise click.UsageError("expected `--predicate`, `--approve` or `--import`, found none")
        if options["key_file"] is None:
            raise click.UsageError("expected `--key`, the private key that signs it, found none")
        from lading.trust.signing import attest as make

        key_file, passphrase = options["key_file"], options["passphrase_file"]
        author = author_of(key_file, passphrase, options["actor"], options["reason"])
        content = _content(predicate, options["file"], bundle, digest, registry)
        actor = author.actor
        texts = [make(manifest.name, digest, predicate, content, author)]
    where = keep(bundle, digest, texts, registry, actor)
    stated = [attestation_json(text) for text in texts]
    if as_json:
        printing.as_json({"bundle": digest, "kept_in": where, "attestations": stated})
    else:
        for each in stated:
            printing.data(each["id"])
    printing.info(f"attested about `{title}`, {digest}, kept in `{where}`")


def _predicate(text: str | None, *, approve: bool) -> str | None:
    from lading.trust.statement import APPROVAL, predicate_uri

    named = predicate_uri(text) if text is not None else None
    if approve and named not in (None, APPROVAL):
        raise click.UsageError("expected `--approve` or another `--predicate`, found both")
    return APPROVAL if approve else named


def _content(
    predicate: str, file: Path | None, bundle: Ref | Path, digest: str, registry: str | None
) -> dict[str, Any]:
    """Return what is stated: the content of a file, the newest evidence, or nothing but the approval."""
    import msgspec

    from lading.trust.statement import APPROVAL, EVIDENCE, RELEASE

    if file is not None:
        content = _json(file)
        # As `lading verify --json` prints it, or the evidence alone.
        return content if predicate != EVIDENCE or "evidence" in content else {"evidence": content}
    if predicate in (APPROVAL, RELEASE):
        return {}
    if predicate != EVIDENCE or isinstance(bundle, Path):
        hint = "`lading verify DIR --json > evidence.json` makes evidence" if predicate == EVIDENCE else None
        expected = "`--evidence FILE`, the JSON that is stated"
        raise UsageError(f"predicate `{predicate}`", expected=expected, found="none", hint=hint)
    with open_registry(registry) as opened:
        holding = [evidence for evidence in opened.evidence(digest) if evidence.holds]
    if not holding:
        hint = f"`lading verify {bundle}` records it"
        raise UsageError(f"evidence of `{bundle}`", expected="some that holds", found="none", hint=hint)
    # By when it was measured: evidence of several machines may be recorded in another order.
    newest = max(holding, key=lambda evidence: evidence.measured_at)
    return {"evidence": msgspec.to_builtins(newest)}


def _json(file: Path) -> dict[str, Any]:
    import msgspec

    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise UsageError(f"`{file}`", expected="a JSON object", found=f"another form: {error}") from None


def _imported(file: Path, digest: str) -> list[str]:
    """Return what somebody else has signed about this bundle; who it was is for a policy to say."""
    from lading.trust.attestation import name_of, peek

    texts = imported_texts(file)
    for each in texts:
        _, statement = peek(each)
        statement.check_about(digest, None, name_of(each))
    return texts
