"""Python files that manifests name, run when something opens.

Such a file is trusted like the manifest beside it, or run in a process of its own. It is never imported by a dotted
name, and never run by validation. Each call of a sandboxed function pays for what is imported here. Called by the specs
that name a function.
"""

from collections.abc import Callable
from os import PathLike
from types import FunctionType, ModuleType

from loomd.errors import Permanent
from loomd.manifest.raised import words_of


def load_function(
    module: ModuleType, path: "str | PathLike[str]", name: str, source: bytes | None = None
) -> Callable[..., object]:
    """Run a file as a module of its own and return one of its functions. No byte code is cached, so edits count.

    Args:
        module: is filled.
        path: the file.
        name: name of the function.
        source: what the file holds, when it was read before; by default it is read now.

    Raises:
        Permanent: it fails, or has no such function.
    """
    module.__file__ = str(path)
    called = module.__file__.rpartition("/")[2]
    try:
        if source is None:
            with open(path, "rb") as file:  # noqa: PTH123  # pathlib would be imported for each call
                source = file.read()
        code = compile(source, module.__file__, "exec")
        exec(code, module.__dict__)  # noqa: S102  # running the declared file is what this is for
    except BaseException as error:  # whatever it is: it is the file's, and ends nothing but this
        raise Permanent(f'"{called}" cannot be loaded: {words_of(error)}') from error
    function = function_in(module, name)
    if function is None:
        raise Permanent(f'"{called}" has no function "{name}"')
    return function


def function_in(module: ModuleType, name: str) -> Callable[..., object] | None:
    """Return a function at the top level of a module, or None where there is none of that name."""
    found: object = getattr(module, name, None)
    if type(found) is FunctionType:
        return found
    from inspect import isroutine  # noqa: PLC0415  # most functions are plain ones, and each call would pay for it

    return found if isroutine(found) else None
