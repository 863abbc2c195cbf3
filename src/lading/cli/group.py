"""All commands in one group, in the order of a model's life, with a suggestion for a mistyped one."""

from __future__ import annotations

import click

import lading
from lading.cli.commands.access import access
from lading.cli.commands.attest import attest
from lading.cli.commands.batch import batch
from lading.cli.commands.completion import completion
from lading.cli.commands.deploy import deploy
from lading.cli.commands.diff import diff
from lading.cli.commands.gc import gc
from lading.cli.commands.help import show_help
from lading.cli.commands.history import history
from lading.cli.commands.hub import hub
from lading.cli.commands.image import image
from lading.cli.commands.inspect import inspect
from lading.cli.commands.inventory import inventory
from lading.cli.commands.jobs import jobs
from lading.cli.commands.key import key
from lading.cli.commands.list import list_models
from lading.cli.commands.log import log
from lading.cli.commands.matrix import matrix
from lading.cli.commands.monitor import monitor
from lading.cli.commands.pack import pack
from lading.cli.commands.predict import predict
from lading.cli.commands.pull import pull
from lading.cli.commands.push import push
from lading.cli.commands.release import release
from lading.cli.commands.remove import remove
from lading.cli.commands.replay import replay
from lading.cli.commands.rollback import rollback
from lading.cli.commands.rollout import rollout
from lading.cli.commands.sbom import sbom
from lading.cli.commands.scan import scan
from lading.cli.commands.serve import serve
from lading.cli.commands.show import show
from lading.cli.commands.sign import sign
from lading.cli.commands.tag import tag
from lading.cli.commands.verify import verify
from lading.cli.commands.version import version
from lading.cli.ui import exit_codes
from lading.cli.ui.command import Group

EXAMPLES = (
    "lading pack model.onnx --name iris --owner ml@example.com --purpose classification",
    "lading push iris.bundle",
    "lading serve iris:1",
)

# In the order in which a newcomer needs them, within and between the sections.
SECTIONS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Pack and verify", (pack, inspect, verify)),
    ("Registry", (push, pull, list_models, show, diff, tag, matrix, remove, gc)),
    ("Serve and predict", (serve, predict, batch, jobs, access)),
    ("Sign and attest", (sign, attest, key)),
    ("Images", (image,)),
    ("Releases", (release, rollout, rollback, history)),
    ("Trust", (sbom, scan)),
    ("Monitoring", (hub, monitor, log, replay)),
    ("Deployment", (deploy,)),
    ("Inventory", (inventory,)),
    ("Other", (completion, show_help, version)),
)


class Commands(Group):
    """The group of all commands, listed by section."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; if the reader of stdout is gone (`| head`), exit quietly."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # As click's own exit: click would otherwise exit with 1, which means refused here.
            raise click.exceptions.Exit(exit_codes.broken_pipe()) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write one list of commands for each section."""
        widest = max(len(name) for name in self.commands)
        for title, commands in SECTIONS:
            with formatter.section(title):
                # The indentation of a section and the gap between the two columns.
                limit = formatter.width - 6 - widest
                rows = [
                    ((command.name or "").ljust(widest), command.get_short_help_str(limit))
                    for command in commands
                ]
                formatter.write_dl(rows)


@click.group(
    cls=Commands,
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(lading.__version__, "-V", "--version", message=f"lading {lading.__version__}")
def group() -> None:
    """Take a trained model into production: packed with proof, verified where it runs, served.

    Exit codes: 0 done, 1 refused, 2 usage error, 3 not found, 4 unavailable, 5 a stale feed.
    """


for _, _commands in SECTIONS:
    for _command in _commands:
        group.add_command(_command)
