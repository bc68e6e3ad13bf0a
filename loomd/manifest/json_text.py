"""JSON that YAML readers take for the same value: what is printed, or kept, can be applied as it is.

JSON may hold line breaks of Unicode as they are, which YAML folds inside quotes, and control characters, which it
refuses. Pure. Called by whatever writes manifests as JSON, and by verbs.
"""

import json
import re

_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What JSON may hold as it is and YAML may not."""


def write_json(value: object, indent: int | None = 2) -> str:
    """Return a JSON value as text.

    Args:
        value: a decoded JSON value.
        indent: spaces of each level; None for all on one line.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
