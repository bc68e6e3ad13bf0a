"""How the room of a prompt is shared: by weight, and what one does not need the others get. Pure."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

K = TypeVar("K", bound=str)


class Part(NamedTuple):
    """What somebody needs of the room, in tokens, and the weight of the claim."""

    need: int
    weight: float


def share(room: int, parts: Mapping[K, Part]) -> dict[K, int]:
    """Return the tokens that each gets: by weight, never more than needed, and all of the room when it is needed."""
    got = dict.fromkeys(parts, 0)
    open_ = {name: part for name, part in parts.items() if part.need > 0 and part.weight > 0}
    left = max(0, room)
    while open_ and left > 0:
        total = sum(part.weight for part in open_.values())
        content = {name: part for name, part in open_.items() if part.need <= left * part.weight / total}
        if not content:
            for name, part in open_.items():
                got[name] = int(left * part.weight / total)
            break
        for name, part in content.items():
            got[name] = part.need
            left -= part.need
            del open_[name]
    return got


def level(needs: list[int], room: int) -> list[int]:
    """Return the tokens that each of several equal ones gets: the small ones all, the large ones alike."""
    names = [str(at) for at in range(len(needs))]
    got = share(room, {name: Part(need, 1.0) for name, need in zip(names, needs, strict=True)})
    return [got[name] for name in names]
