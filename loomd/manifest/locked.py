"""`locked`: paths of what nothing that is learned may change. Called by specs that have such a field; pure."""

from collections.abc import Collection, Iterator, Sequence

from loomd.manifest.wording import did_you_mean, quoted


def missing(locked: Sequence[str], below: str, names: Collection[str], expected: str) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with paths that name what is not there.

    Args:
        locked: the paths, as the manifest says them.
        below: how those begin that are looked at, with the dot: `domains.`.
        names: what there is below that.
        expected: what such a path names, in words.
    """
    for at, path in enumerate(locked):
        if path.startswith(below) and path.removeprefix(below) not in names:
            hint = did_you_mean(path, [f"{below}{one}" for one in names], "there are:") or "there is none"
            yield f"/locked/{at}", f"expected {expected}, got {quoted(path)}: {hint}", "invalid-value"
