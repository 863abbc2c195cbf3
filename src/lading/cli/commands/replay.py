"""``lading replay``: yesterday's requests through another version, before anyone releases it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.exit_codes import REFUSED
from lading.cli.ui.log_options import log_option, opened_log, since_option, until_option, where_option
from lading.cli.ui.parameters import (
    BundleType,
    ShareType,
    allow_option,
    json_option,
    open_bundle,
    registry_option,
)
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.monitor.replay import Replay


@click.command(
    "replay",
    short_help="Replay logged requests through another version.",
    cls=Command,
    examples=(
        "lading replay iris:4 --from-log --since 1d",
        "lading replay ./iris.bundle --from-log --since 1w --max-flipped 1%",
    ),
)
@click.argument("candidate", type=BundleType(), metavar="DIR|REF")
@click.option("--from-log", is_flag=True, required=True, help="Take the requests of the prediction log.")
@click.option("--model", metavar="NAME", help="Model whose requests to take.  [default: the bundle's name]")
@since_option
@until_option
@where_option("Condition on the columns of `lading log query`.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="Most rows; 0: all.")
@click.option(
    "--max-differing",
    type=ShareType(),
    metavar="SHARE",
    help="Share of rows that may be beyond the bundle's tolerance.  [default: 0, without --max-flipped]",
)
@click.option(
    "--max-flipped", type=ShareType(), metavar="SHARE", help="Share of rows that may name another class."
)
@allow_option
@log_option
@registry_option
@json_option
@click.pass_context
def replay(ctx: click.Context, /, candidate: Ref | Path, **options: Any) -> None:
    """Run logged requests through the version at DIR|REF, and compare its answers with the logged ones.

    Nothing is served or released: this is a shadow of yesterday's traffic. Rows agree within the tolerance
    that the candidate's bundle states. With labels from feedback, the accuracy of both is shown. The exit
    code is 1 if more rows differ than is allowed.
    """
    bundle = open_bundle(candidate, options["registry"])
    name = options["model"] or bundle.manifest.name
    with opened_log(options["log"], options["registry"], "lading replay") as log:
        outcome = _replay(bundle, name, log, options)
        where = log.where
    problems = list(_problems(outcome, options["max_differing"], options["max_flipped"]))
    if options["as_json"]:
        head = {"candidate": str(candidate), "digest": bundle.digest, "model": name, "log": where}
        printing.as_json({**head, "agrees": not problems, "problems": problems, "replay": outcome})
    else:
        _print(outcome, str(candidate))
    for problem in problems:
        printing.error(problem, None)
    ctx.exit(REFUSED if problems else 0)


def _replay(bundle: Bundle, name: str, log: Any, options: dict[str, Any]) -> Replay:
    from lading.monitor.replay import replay_log
    from lading.runtime.open import load_runtime
    from lading.runtime.python.host import this_host
    from lading.verify import replay as replay_golden

    with printing.spinner(f"replaying requests of {name}"):
        runtime = load_runtime(bundle, python=this_host(options["allow"]))
        try:
            # A bundle that does not hold here would differ for reasons that are not the model's.
            replay_golden(runtime, bundle)
            return replay_log(
                log,
                name,
                bundle.manifest,
                runtime,
                since=options["since"],
                until=options["until"],
                where=options["where"],
                limit=options["limit"],
            )
        finally:
            runtime.close()


def _problems(outcome: Replay, max_differing: float | None, max_flipped: float | None) -> Any:
    if not outcome.rows:
        yield "no logged request could be replayed"
        return
    # Asked for classes alone, values are not judged: those of a retrained model differ everywhere.
    most = max_differing if max_differing is not None or max_flipped is not None else 0.0
    if most is not None and outcome.differing_share > most:
        yield (
            f"{_share(outcome.differing, outcome.rows)} of the rows differ beyond the tolerance, "
            f"expected at most {most:.2%}"
        )
    if max_flipped is not None and outcome.flipped_share > max_flipped:
        yield (
            f"{_share(outcome.flipped or 0, outcome.rows)} of the rows name another class, "
            f"expected at most {max_flipped:.2%}"
        )


def _print(outcome: Replay, candidate: str) -> None:
    versions = ", ".join(f"{number} ({rows} rows)" for number, rows in outcome.versions.items())
    fields = [
        ("rows", str(outcome.rows)),
        ("answered by", f"version {versions}" if versions else ""),
        ("within tolerance", _share(outcome.rows - outcome.differing, outcome.rows)),
        (
            "same class",
            _share(outcome.rows - outcome.flipped, outcome.rows) if outcome.flipped is not None else "",
        ),
        ("not replayed", str(outcome.skipped) if outcome.skipped else ""),
    ]
    if outcome.labelled:
        fields += [
            ("labelled", str(outcome.labelled)),
            ("accuracy logged", _share(outcome.logged_right, outcome.labelled)),
            (f"accuracy {candidate}", _share(outcome.candidate_right, outcome.labelled)),
        ]
    printing.fields(fields)
    if outcome.slices:
        printing.data("")
        rows = [
            (part.column, f"{part.low:.4g} to {part.high:.4g}", _share(part.differing, part.rows))
            for part in outcome.slices
        ]
        printing.table(("differs most where", "is", "rows"), rows)
    if outcome.worst:
        printing.data("")
        worst = [
            (f"{row.id}[{row.row}]", row.time, _values(row.logged), _values(row.candidate))
            for row in outcome.worst
        ]
        printing.table(("worst rows", "time", "logged", "candidate"), worst)


def _share(count: int, rows: int) -> str:
    return f"{count / rows:.2%} ({count} of {rows})" if rows else "0"


def _values(outputs: dict[str, Any]) -> str:
    texts = []
    for name, value in outputs.items():
        if isinstance(value, list) and value and all(isinstance(number, float) for number in value):
            numbers = ", ".join(f"{number:.4g}" for number in value[:8])
            texts.append(f"{name} [{numbers}{', …' if len(value) > 8 else ''}]")
        else:
            text = str(value)
            texts.append(f"{name} {text if len(text) <= 60 else text[:59] + '…'}")
    return "; ".join(texts)
