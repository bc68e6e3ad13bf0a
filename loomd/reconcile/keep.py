"""What a source declared before and its new files leave out, as files that keep it: an apply that deletes nothing.

Each object becomes a file of its own, so that one which is declared again, in whichever file, replaces what was kept.
Called by the reconciler when it is not to prune.
"""

import json
import re
from collections.abc import Iterable

from loomd.manifest.convert import Converted
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Object
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile

KEPT = "(kept)"
"""Folder in the name of a file that keeps an object which no file declares any more."""

_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
"""What JSON may hold as it is and YAML may not."""


def left_out(old: Iterable[Converted], new: Iterable[Converted]) -> tuple[SourceFile, ...]:
    """Return a file for every object of the old documents that no new document declares.

    Raises:
        Problems: an object that is to be kept is not valid any more.
    """
    declared = {one.ref for one in new}
    gone = [one for one in old if one.ref not in declared]
    wrong = [problem for one in gone for problem in one.problems]
    if wrong:
        raise Problems(wrong)
    return tuple(_file(one.object) for one in gone if one.object is not None)


def _file(item: Object) -> SourceFile:
    metadata = item.metadata.model_dump(mode="json", by_alias=True)
    body = {"apiVersion": API_VERSION, "kind": item.ref.kind, "metadata": metadata, "spec": dict(item.raw)}
    text = json.dumps(body, ensure_ascii=False, indent=2)
    text = _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return SourceFile(item.root, f"{KEPT}/{item.ref.kind}/{item.ref.namespace}/{item.ref.name}", text.encode())
