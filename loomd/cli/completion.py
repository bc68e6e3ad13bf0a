"""`loomd completion`: prints the script with which a shell completes verbs, options and values.

The script asks `loomd` itself for what fits; `main` answers for the verbs without importing them.
"""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_ANSWER = "_LOOMD_COMPLETE"
"""Variable of the environment in which the script asks; its name is click's choice."""


@click.command(
    epilog="""\b
bash: echo 'source <(loomd completion bash)' >> ~/.bashrc
zsh:  echo 'source <(loomd completion zsh)' >> ~/.zshrc     # behind compinit
fish: loomd completion fish > ~/.config/fish/completions/loomd.fish"""
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def command(shell: str) -> None:
    """Print the script with which a SHELL completes verbs, options and values."""
    click.echo(_SHELLS[shell](click.Command("loomd"), {}, "loomd", _ANSWER).source())
