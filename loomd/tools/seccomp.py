"""Which system calls a sandboxed command may not make: those that no ordinary program needs and that widen the way out.

A filter is a program for the kernel's packet filter (`man 2 seccomp`): it compares the number of a call with a list and
answers that it is not permitted. Called by the sandbox, which hands the filter to bubblewrap; it depends on nothing.
"""

import struct
from dataclasses import dataclass, field

from loomd.errors import Permanent

_ALIKE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
}
"""Calls that have the same number on every machine."""

_X86_64 = {
    "ptrace": 101,
    "syslog": 103,
    "vhangup": 153,
    "modify_ldt": 154,
    "pivot_root": 155,
    "chroot": 161,
    "mount": 165,
    "umount2": 166,
    "lookup_dcookie": 212,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "kcmp": 312,
    "bpf": 321,
    "userfaultfd": 323,
}
_AARCH64 = {
    "lookup_dcookie": 18,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "chroot": 51,
    "vhangup": 58,
    "unshare": 97,
    "syslog": 116,
    "ptrace": 117,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "perf_event_open": 241,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "kcmp": 272,
    "bpf": 280,
    "userfaultfd": 282,
}


@dataclass(frozen=True)
class _Machine:
    """Numbers of one kind of machine, from the kernel's headers.

    Attributes:
        audit: what the kernel calls it (`linux/audit.h`).
        denied: calls that are refused whatever their arguments are.
        clone: number of `clone`, which may not make a user namespace.
        ioctl: number of `ioctl`, which may not write into a terminal.
        socket: number of `socket`.
        foreign: lowest number of another set of calls, or None.
    """

    audit: int
    denied: dict[str, int]
    clone: int
    ioctl: int
    socket: int
    foreign: int | None = None
    alike: dict[str, int] = field(default_factory=lambda: _ALIKE)


_MACHINES = {
    "x86_64": _Machine(0xC000003E, _X86_64, clone=56, ioctl=16, socket=41, foreign=0x40000000),
    "aarch64": _Machine(0xC00000B7, _AARCH64, clone=220, ioctl=29, socket=198),
}
_CLONE3 = 435
_NEWUSER = 0x10000000
_WRITES_TO_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_FAMILIES = (38, 40)  # AF_ALG: the kernel's cryptography; AF_VSOCK: the host of a virtual machine
_EPERM, _ENOSYS = 1, 38

# Instructions (`linux/bpf_common.h`, `linux/seccomp.h`) and the offsets of what they look at.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24
_KILL, _ERROR, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000


def seccomp_filter(machine: str) -> bytes:
    """Return the filter for a machine, as `bwrap --seccomp` reads it.

    Args:
        machine: as `platform.machine()` names it.

    Raises:
        Permanent: its numbers are not known here.
    """
    known = _MACHINES.get(machine)
    if known is None:
        raise Permanent(f"system calls are known for {' and '.join(_MACHINES)}, this machine is {machine or 'unknown'}")
    code = [(_LOAD, 0, 0, _ARCH), *_unless(_EQUAL, known.audit, _KILL), (_LOAD, 0, 0, _NUMBER)]
    if known.foreign is not None:
        code += _if(_AT_LEAST, known.foreign, _ERROR | _ENOSYS)
    code += _if(_EQUAL, _CLONE3, _ERROR | _ENOSYS)  # its flags cannot be looked at: libraries fall back to clone
    for number in sorted({*known.denied.values(), *known.alike.values()}):
        code += _if(_EQUAL, number, _ERROR | _EPERM)
    code += _with_argument(known.clone, _FIRST, [(_ANY_BIT, _NEWUSER)])
    code += _with_argument(known.ioctl, _SECOND, [(_EQUAL, request) for request in _WRITES_TO_TERMINAL])
    code += _with_argument(known.socket, _FIRST, [(_EQUAL, family) for family in _FAMILIES])
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in code)


_Line = tuple[int, int, int, int]


def _if(test: int, value: int, then: int) -> list[_Line]:
    """Return `if what was loaded passes the test, return`."""
    return [(test, 0, 1, value), (_RETURN, 0, 0, then)]


def _unless(test: int, value: int, then: int) -> list[_Line]:
    return [(test, 1, 0, value), (_RETURN, 0, 0, then)]


def _with_argument(number: int, place: int, tests: list[tuple[int, int]]) -> list[_Line]:
    """Return `if it is this call, refuse it when an argument passes a test`; the number stays loaded."""
    inner = [(_LOAD, 0, 0, place), *(line for test, value in tests for line in _if(test, value, _ERROR | _EPERM))]
    inner.append((_LOAD, 0, 0, _NUMBER))
    return [(_EQUAL, 0, len(inner), number), *inner]
