"""What all facts have in common: frozen, and told apart by a tag that is their name on the wire."""

import msgspec


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Base of all facts."""
