"""Kill -9 at random moments, over hundreds of tasks: nothing acknowledged is lost, nothing is done twice."""

import os
import random
from pathlib import Path

import pytest

from loomd.store.check import check
from loomd.store.records import TaskRecord
from loomd.store.sqlite import open_store
from tests.chaos import crash
from tests.chaos.audit import Promises, audit
from tests.chaos.system import Wish, wishes

TASKS = 300
SEED = int(os.environ.get("LOOMD_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
"""Another one in every run, told when it fails; LOOMD_CHAOS_SEED repeats one."""


@pytest.mark.timeout(400)
async def test_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    """Daemons that take tasks of all sorts are killed after 0.1 to 2 s; after each, and at the end, all is audited."""
    (tally,) = await crash.run(tmp_path, SEED, TASKS)
    assert tally.kills >= TASKS // 18
    assert sum(tally.ends.values()) >= TASKS
    assert tally.ends["completed"] > TASKS // 2
    _expect_findings(tmp_path / "0")


def _expect_findings(home: Path) -> None:
    """Show that the audit finds what it looks for: it is made untrue, one thing after the other."""
    audit(home, Promises(), last=True)
    with pytest.raises(AssertionError, match="lost"):
        audit(home, Promises(accepted={"gone": Wish(1, "plain")}))
    effects = (home / "effects").read_text()
    once = next(line for line in effects.splitlines() if line.split()[1] == "c")
    (home / "effects").write_text(f"{effects}{once}\n")
    with pytest.raises(AssertionError, match="may not happen twice, and happened 2 times"):
        audit(home, Promises())
    again = next(line for line in effects.splitlines() if line.split()[1] == "right")
    (home / "effects").write_text(f"{effects}{again.rpartition(' ')[0]} 9e9\n")
    with pytest.raises(AssertionError, match=r"was recorded at .* and happened at"):
        audit(home, Promises())
    (home / "effects").write_text(effects.replace(f"{once}\n", ""))
    with pytest.raises(AssertionError, match="only these happened"):
        audit(home, Promises(), last=True)


def test_a_seed_fixes_what_is_wanted() -> None:
    """The same seed asks for the same tasks, another one for others."""
    assert list(wishes(random.Random(1), 50)) == list(wishes(random.Random(1), 50))
    assert list(wishes(random.Random(1), 50)) != list(wishes(random.Random(2), 50))


async def test_a_first_start_that_was_killed_leaves_nothing_to_mend(tmp_path: Path) -> None:
    """A database without its marker and with nothing in it is no damage: nothing was promised yet, and it opens."""
    async with open_store(tmp_path):
        pass
    (tmp_path / "identity.json").unlink()
    assert check(tmp_path).findings == ()
    async with open_store(tmp_path) as store:
        await store.put_task(TaskRecord("t1", "default", "team", "Running", b"{}"))
    (tmp_path / "identity.json").unlink()
    assert {one.code for one in check(tmp_path).findings} == {"identity"}
