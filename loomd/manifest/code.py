"""What the codes of problems mean and what to do about each: stable names, for people, editors and code scanners.

A code says what sort of mistake it is; the message says the rest. Called by the forms in which problems are shown and
by the generator of the reference; a test sees to it that no other code is ever used.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Meaning(NamedTuple):
    """What a code stands for.

    Attributes:
        summary: what is wrong, in one sentence.
        help: what to do.
    """

    summary: str
    help: str


WARNINGS = frozenset({"missing-package", "missing-program"})
"""Codes of what a spec says of the machine that it is checked on: it may be right where it is to run."""


CODES: Mapping[str, Meaning] = MappingProxyType(
    {
        "ambiguous-reference": Meaning(
            "A reference fits no object, and several are spelled almost so.", "Write the exact name of one of them."
        ),
        "bad-file": Meaning(
            "A file or folder that a field names cannot be used.",
            "Name one that exists below the folder of the manifests, with a path relative to that folder.",
        ),
        "bad-key": Meaning("A key of a mapping is not plain text.", "Write a short text, in quotes if it is unusual."),
        "bad-template": Meaning(
            "A template is not valid, or uses a variable or a construct that is not there.",
            "Use the variables that the message lists; calls, imports and macros are not available.",
        ),
        "changed-since": Meaning(
            "The folder that a revision was read from holds something else now.",
            "Look at the difference before the source is resumed.",
        ),
        "custom-tag": Meaning("A YAML tag stands before a value.", "Remove it; quote a value to make it text."),
        "deprecated-version": Meaning(
            "A manifest is written for an old apiVersion, which will not be read for ever.",
            "Let `loomd convert --write -f FILE` rewrite it.",
        ),
        "duplicate-key": Meaning("A key stands twice in one mapping.", "Remove one of the two."),
        "duplicate-object": Meaning(
            "Two documents have the same kind, namespace and name.", "Rename one, or remove it."
        ),
        "empty": Meaning(
            "A followed file that held manifests became empty; nothing is deleted.", "Write it again, or delete it."
        ),
        "empty-selection": Meaning(
            "A selector selects nothing.", "Give the objects that are meant the labels that it asks for."
        ),
        "invalid-value": Meaning("A value is not one that the field takes.", "Write what the message expects."),
        "literal-secret": Meaning(
            "A secret stands in a manifest.",
            "Keep it in an environment variable or a file, and write the place: {valueFrom: {env: NAME}}.",
        ),
        "merge-key": Meaning("The key << merges mappings, which is not read.", "Write the fields out."),
        "missing-field": Meaning("A field that is required is not there.", "Add it."),
        "missing-package": Meaning(
            "A Python package that a field names is not here, or has no such function.",
            "Mend the name, or install the package where the daemon runs.",
        ),
        "missing-program": Meaning(
            "A program that a field names is not here, or may not be run.",
            "Mend the name, or install the program where the daemon runs.",
        ),
        "not-utf8": Meaning("A file is not UTF-8.", "Save it as UTF-8."),
        "out-of-range": Meaning("A number, a text or a list is too small or too large.", "Stay inside the limit."),
        "reference-cycle": Meaning(
            "References lead back to where they start.", "Remove one of the references in the chain."
        ),
        "self-reference": Meaning("An object refers to itself.", "Remove the reference."),
        "still-referenced": Meaning(
            "An object that is to be deleted is needed by another.", "Remove the reference first, or delete both."
        ),
        "too-deep": Meaning("Lists and mappings are nested too deeply.", "Nest them less."),
        "too-large": Meaning("A file or a set of files is too large.", "Split it."),
        "too-many-problems": Meaning("There are more problems than are told.", "Mend those that are told first."),
        "truncated": Meaning(
            "A followed file ends earlier than before, in the middle of a line; nothing is deleted.",
            "Write it again, or end its last line.",
        ),
        "unknown-alias": Meaning(
            "An alias (*name) has no anchor (&name) before it.", "Quote it if it is text, or add the anchor."
        ),
        "unknown-api-version": Meaning("An apiVersion does not exist.", "Write apiVersion: loomd.dev/v1."),
        "unknown-field": Meaning("A field does not exist.", "Write a field that `loomd explain` lists, or remove it."),
        "unknown-kind": Meaning("A kind does not exist.", "Write a kind that `loomd explain` lists."),
        "unknown-type": Meaning("A type does not exist.", "Write a type that the message lists."),
        "unreadable": Meaning(
            "A file or folder cannot be read.", "Mend its permissions or its name, or the link that leads to it."
        ),
        "unresolved-reference": Meaning(
            "A reference leads to an object that is not there.", "Mend the name, or add the object."
        ),
        "unusable-package": Meaning(
            "An installed package brings types that cannot be used.", "Mend the package, or remove it."
        ),
        "unused-object": Meaning(
            "Nothing refers to an object that does nothing by itself.", "Refer to it, or remove it."
        ),
        "wrong-type": Meaning("A value is of the wrong type.", "Write what the message expects."),
        "yaml-syntax": Meaning("The text is not YAML.", "Mend the line; the cause may stand on a line before it."),
    }
)
"""Every code, in order of its name."""
