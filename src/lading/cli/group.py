"""Every command in one group: in the order of a model's life, with a suggestion for a mistyped one."""

from __future__ import annotations

import click

import lading
from lading.cli.commands import (
    completion,
    deploy,
    history,
    image,
    inventory,
    pack,
    predict,
    registry,
    release,
    rollout,
    serve,
    verify,
)
from lading.cli.ui import exit_codes as exits
from lading.cli.ui.command import Group

EXAMPLES = (
    "lading pack model.onnx --name iris --owner ml@example.com --purpose classification",
    "lading push iris.bundle",
    "lading serve iris:1",
)

SECTIONS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Make and prove", (pack.pack, verify.inspect, verify.verify)),
    (
        "Keep",
        (
            registry.push,
            registry.pull,
            registry.list_models,
            registry.show,
            registry.tag,
            registry.matrix,
            registry.remove,
            registry.gc,
        ),
    ),
    ("Run", (serve.serve, predict.predict)),
    ("Ship", (image.image,)),
    ("Release", (release.release, rollout.rollout, release.rollback, history.history)),
    ("Deploy", (deploy.deploy,)),
    ("See", (inventory.inventory,)),
    ("Other", (completion.completion,)),
)


class Commands(Group):
    """The group of all commands: shown by section, with a suggestion for a mistyped one."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a reader that went away (`| head`) ends it quietly."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Raised on as click's own exit: click would otherwise end with 1, which here means refused.
            raise click.exceptions.Exit(exits.broken_pipe()) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write one list of commands for each section."""
        widest = max(len(name) for name in self.commands)
        for title, commands in SECTIONS:
            with formatter.section(title):
                limit = formatter.width - 6 - widest
                rows = [((one.name or "").ljust(widest), one.get_short_help_str(limit)) for one in commands]
                formatter.write_dl(rows)


@click.group(
    cls=Commands,
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(lading.__version__, prog_name="lading", message="%(prog)s %(version)s")
def group() -> None:
    """Take a trained model into production: packed with proof, verified where it runs, served.

    Exit codes: 0 done, 1 refused, 2 wrong use, 3 not found, 4 unavailable.
    """


for _, _commands in SECTIONS:
    for _command in _commands:
        group.add_command(_command)
