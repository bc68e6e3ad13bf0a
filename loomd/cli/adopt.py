"""`loomd adopt`: takes over into manifests what clusters learned: scores, instructions, agents that they made."""

from collections.abc import Iterable
from pathlib import Path

import click

from loomd.cli.replace import replace_file
from loomd.cli.target import Client, namespace_option, socket_option

_KINDS = ("agent", "blueprint", "cluster")
_FAILED = 1


@click.command()
@click.argument("what", nargs=-1, metavar="[agent/A | blueprint/B | cluster/C]...")
@click.option(
    "--patch", "as_patch", is_flag=True, help="Print a patch for `git apply`; this is what is done by default."
)
@click.option("--write", is_flag=True, help="Rewrite the files.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the rewritten files; the others stay.",
)
@click.option(
    "--tasks", type=click.IntRange(min=0), default=5, show_default=True, help="Least tasks that say so, of a score."
)
@click.option(
    "--digits", type=click.IntRange(1, 6), default=2, show_default=True, help="Digits behind the point of a score."
)
@namespace_option
@socket_option
def command(
    what: tuple[str, ...],
    as_patch: bool,
    write: bool,
    output: Path | None,
    tasks: int,
    digits: int,
    namespace: str,
    client: Client,
) -> int:
    """Take over into the manifests what was learned, of a whole namespace or of some.

    Scores become `domains`, instructions that were promoted follow the prompt, and agents that a cluster made are
    declared behind the one that they were made from, and named by the cluster. Everything else in the files stays as
    it is: comments, order, quotes. Without --write or --output nothing is written. Done again it changes nothing.

    What a person locked is left out, which standard error says. Exit code 1: something else was not taken over, such as
    what a person changes at the same time in a file; the reasons are on standard error.
    """
    if as_patch + write + (output is not None) > 1:
        raise click.UsageError("expected one of --patch, --write and --output")
    from loomd.cli.adopted import adopt, base_of  # noqa: PLC0415  # brings all kinds; the help text needs none
    from loomd.cli.patch import patch_of  # noqa: PLC0415  # see above

    query = {kind: ",".join(names) for kind, names in _named(what).items() if names}
    page = client.get("namespaces", namespace, "adoption", tasks=str(tasks), digits=str(digits), **query)
    found = adopt(page["items"])
    refused = list(found.refused)
    if write:
        refused += [f"{one.name} is in {one.source}: use --patch" for one in found.files if not one.local]
        found.files = [one for one in found.files if one.local]
    _refuse_read(output, {Path(one.source) for one in found.files if one.local})
    base, names = base_of(found.files, Path.cwd())
    for one, name in zip(found.files, names, strict=True):
        for line in one.told:
            click.echo(f"{name}: {line}", err=not write)
        if write:
            replace_file(Path(one.name), one.after)
        elif output is not None:
            place = output / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(one.after)
        else:
            click.echo(patch_of(name, one.before, one.after), nl=False)
    if not found.files:
        click.echo("nothing to adopt", err=True)
    elif not write:
        tops = {one.source for one in found.files if not one.local}
        tops |= {str(base)} if any(one.local for one in found.files) else set()
        click.echo(f"paths start at {', '.join(sorted(tops))}", err=True)
    for line in [*(f"left out: {one}" for one in found.locked), *(f"not adopted: {one}" for one in refused)]:
        click.echo(line, err=True)
    return _FAILED if refused else 0


def _refuse_read(output: Path | None, sources: Iterable[Path]) -> None:
    """Refuse a folder that is read together with the files that it is to hold once more.

    Raises:
        UsageError: it is one.
    """
    place = None if output is None else output.resolve()
    for one in sources:
        if place is None or not one.is_dir() or not place.is_relative_to(one.resolve()):
            continue
        if not any(part.startswith(".") for part in place.relative_to(one.resolve()).parts):  # those are not read
            raise click.UsageError(
                f"{place} is in {one}, of which all manifests are read, so everything would be declared twice: "
                "name a folder beside it, or --write"
            )


def _named(what: Iterable[str]) -> dict[str, list[str]]:
    """Return the names that are wanted, by kind.

    Raises:
        UsageError: one names something else.
    """
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for one in what:
        kind, _, name = one.partition("/")
        kind = kind.lower().removesuffix("s")
        if kind not in found or not name or "/" in name or "," in name:
            raise click.UsageError(f"{one!r}: expected agent/NAME, blueprint/NAME or cluster/NAME")
        found[kind].append(name)
    return found
