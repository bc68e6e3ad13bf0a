"""What git says when a contact fails, as an error whose class says what to do and whose text says whom to ask. Pure.

Git's own line is quoted, so that nothing is lost that a search engine would find. Called by the mirror.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from loomd.errors import Damaged, LoomdError, NotFound, Overloaded, Permanent, Temporary, Unauthorized, Unreachable
from loomd.git.command import Done


@dataclass(frozen=True)
class _Fault:
    """What a pattern in git's words means, and the next act."""

    pattern: re.Pattern[str]
    error: Callable[[str], LoomdError]
    act: str


def _fault(pattern: str, error: Callable[[str], LoomdError], act: str) -> _Fault:
    return _Fault(re.compile(pattern, re.IGNORECASE), error, act)


_FAULTS = (
    _fault(
        r"host key verification failed|no .* host key is known|host identification has changed",
        Unauthorized,
        "the host's key is not in spec.auth.knownHosts: compare what ssh-keyscan prints with what its owner says, "
        "and add it there",
    ),
    _fault(
        r"unprotected private key|bad permissions|permissions .* are too open",
        Unauthorized,
        "the file of spec.auth.sshKey may be read by others: chmod 600",
    ),
    _fault(
        r"load key|error in libcrypto|invalid format",
        Unauthorized,
        "spec.auth.sshKey must hold a private key without passphrase",
    ),
    _fault(
        r"authentication failed|could not read (username|password)|terminal prompts disabled|permission denied"
        r"|returned error: (401|403)|invalid credentials",
        Unauthorized,
        "the remote refuses spec.auth: mend the secret that it names, or give it access to the repository",
    ),
    _fault(
        r"returned error: 30\d|redirect",
        Permanent,
        "redirects are not followed: write the address that it leads to into spec.url",
    ),
    _fault(
        r"certificate|ssl|tls|gnutls",
        Permanent,
        "the remote's certificate is not trusted: mend it, or name its authority in GIT_SSL_CAINFO of the daemon",
    ),
    _fault(r"dubious ownership", Permanent, "the repository belongs to another user than the daemon: chown it"),
    _fault(r"cannot run ssh|git-remote-\S+' is not|unable to find remote helper", Permanent, "install it"),
    _fault(r"transport '.*' not allowed", Permanent, "only the protocol of spec.url is allowed"),
    _fault(
        r"not found|no such repository|is this a git repository|no such remote ref|returned error: (404|410)"
        r"|does not appear to be a git repository|not exported"
        r"|could not find remote ref|couldn't find remote ref|not our ref|unadvertised object",
        NotFound,
        "mend spec.url or spec.ref, or give spec.auth access to the repository",
    ),
    _fault(r"returned error: 429", Overloaded, "it is asked again later"),
    _fault(r"no space left on device", Temporary, "free some space in the state directory"),
    _fault(
        r"resolve host|connect|timed? ?out|reset|hung up|early eof|disconnect|too slow|returned error: 5\d\d|refused"
        r"|unreachable|rpc failed|could not read from remote|kex_exchange|operation too slow|broken pipe|empty reply",
        Unreachable,
        "it is asked again later",
    ),
    _fault(
        r"corrupt|bad object|unable to create '.*lock|cannot lock ref|index-pack|unable to read"
        r"|missing (blob|tree|commit)|not a git repository|bad config|inflate|pack",
        Damaged,
        "the mirror is made anew",
    ),
)


def explain(owner: str, url: str, done: Done) -> LoomdError:
    """Return the error for a command that failed at a remote.

    Args:
        owner: the object, `GitSource/team`.
        url: the remote, without secrets.
        done: how git ended.
    """
    for fault in _FAULTS:
        for number, line in enumerate(done.err):
            if fault.pattern.search(line.replace(url, "")):
                more = done.err[number + 1 : number + 2] if line.endswith(":") else ()
                return fault.error(f"{owner} {url}: {_short(' '.join((line, *more)))}: {fault.act}")
    return Temporary(f"{owner} {url}: {_short(done.reason)}: it is asked again later")


def is_refused_commit(done: Done) -> bool:
    """Return whether a remote does not hand out a single commit by its hash."""
    return any(
        re.search(r"not our ref|unadvertised object|(could not|couldn't) find remote ref", line) for line in done.err
    )


def _short(line: str) -> str:
    return line.removeprefix("fatal: ").removeprefix("error: ").rstrip(".")
