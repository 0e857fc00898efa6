"""
The command line: a sibling for each command, and what they share.

A command is a click function, which reads options and prints results, around an
async function that does the work. Exit statuses are 0, 1 and 2 alone: done, not
all done, and a call that can't work.
"""

from __future__ import annotations

import click

from hh_exporter._cli.check import check_command
from hh_exporter._cli.collect import collect_command
from hh_exporter._cli.dead_letters import dead_letters_command
from hh_exporter._cli.demo import demo_command
from hh_exporter._cli.fleet import fleet_command
from hh_exporter._cli.relay import relay_command
from hh_exporter._cli.send import send_command
from hh_exporter._cli.spool import spool_command
from hh_exporter._version import __version__

__all__ = ["cli"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """
    Export LLM calls and agent traces to the HoneyHive API, and look after what
    is not delivered.
    """


for command in (
    *(demo_command, send_command, check_command, collect_command),
    *(dead_letters_command, spool_command),
    *(relay_command, fleet_command),
):
    cli.add_command(command)
