"""Which tag a range takes."""

import re

import pytest

from loomd.git.semver import RANGE, highest, version_key

TAGS = [
    *("v0.1.0", "v0.1.9", "v0.2.0", "1.0.0", "v1.2.0", "v1.2.3", "v1.4.0-rc.1", "v1.4.0-rc.11", "v1.10.0", "v2.0.0"),
    *("v2.1.0-alpha", "latest", "v1", "v1.2", "v01.2.3", "v1.2.3.4", "release-9.9.9"),
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("*", "v2.0.0"),
        ("x", "v2.0.0"),
        ("1", "v1.10.0"),
        ("1.x", "v1.10.0"),
        ("v1.2", "v1.2.3"),
        ("1.2.0", "v1.2.0"),
        ("=1.0.0", "1.0.0"),
        ("^1.2", "v1.10.0"),
        ("^0.1.0", "v0.1.9"),
        ("~1.2.0", "v1.2.3"),
        ("~1", "v1.10.0"),
        (">=1.2 <2", "v1.10.0"),
        (">=1.2, <1.10.0", "v1.2.3"),
        (">1.10.0", "v2.0.0"),
        ("<1", "v0.2.0"),
        ("<=1.2", "v1.2.3"),
        ("<0.1.0", None),
        ("^3 || ~0.1", "v0.1.9"),
        ("~1.4.0-rc.1", "v1.4.0-rc.11"),
        (">=1.4.0-rc.2 <1.5", "v1.4.0-rc.11"),
        ("1.4.0-rc.1", "v1.4.0-rc.1"),
        ("^2.1", None),
        ("> *", None),
    ],
)
def test_the_highest_tag_in_a_range(wanted: str, found: str | None) -> None:
    """Numbers are compared as numbers; pre-releases fit only a range that names one of the same version."""
    assert re.search(RANGE, wanted)
    assert highest(TAGS, wanted) == found


def test_versions_sort_as_the_specification_says() -> None:
    """The order of pre-releases is that of the specification of semantic versions; build metadata does not count."""
    ordered = [
        *("1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
        *("1.0.0-rc.1", "1.0.0", "1.0.1", "1.1.0", "2.0.0"),
    ]
    keys = [key for one in ordered if (key := version_key(one)) is not None]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(ordered)
    assert version_key("1.0.0+a") == version_key("v1.0.0+b")


@pytest.mark.parametrize("wanted", ["", "latest", ">", "1.2.3.4", "1 - 2", ">= 1 && < 2", "01.0", "|| 1", "1.0.0-"])
def test_what_is_no_range_is_refused(wanted: str) -> None:
    """The pattern of the schema takes no text that cannot be read."""
    assert not re.search(RANGE, wanted)
