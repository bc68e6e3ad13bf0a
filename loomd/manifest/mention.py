"""Names that are spoken of, not referred to: the calls that a limit counts, the tools that a skill allows.

Whoever speaks of a name comes alive without what it means; a name that nothing has is a mistake all the same. Found by
`marks`, judged by `mentioned`.
"""

import msgspec


class Mention(msgspec.Struct, frozen=True):
    """Marks a text that is the name of something that an object of a kind brings, or a pattern of calls of it.

    Attributes:
        kind: the kind of those objects, in the namespace of the one that speaks of them.
        own: names that are there without an object.
        among: JSON pointer of the references of which one must be meant; by default any object may be.
    """

    kind: str
    own: tuple[str, ...] = ()
    among: str = ""
