"""`loomd version`: prints the version."""

import platform

import click

from loomd import __version__


@click.command()
def command() -> None:
    """Print the version of loomd and of Python."""
    click.echo(f"loomd {__version__} (Python {platform.python_version()})")
