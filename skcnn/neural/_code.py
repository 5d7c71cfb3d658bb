"""What callables of the user's do, as a text that two of them can be compared by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from types import CodeType, FunctionType
from typing import Any

from torch import nn

# Their versions are not the user's doing.
_LIBRARIES = {"skcnn", "torch", "sklearn", "skorch", "numpy", "builtins"}
_PLAIN = (type(None), str, bytes, int, float, complex)


def description(value: Any) -> str:
    """Return the text of an object, without addresses, and what its functions do."""
    plain = isinstance(value, (type, *_PLAIN, list, tuple, dict))
    held = "" if plain else repr(getattr(value, "__dict__", ""))
    return _without_addresses(f"{value!r} {held} {_digest(_functions(value))}".rstrip())


def of_network(network: nn.Module) -> str:
    """Return a text of a network's layers, their weights' shapes, and the user's own code."""
    shapes = [(name, tuple(value.shape)) for name, value in network.state_dict().items()]
    own = [_digest(_functions(type(layer))) for layer in network.modules()]
    text = _without_addresses(f"{network!r} {shapes} {own}")
    return f"{len(shapes)} arrays in layers {sha256(text.encode()).hexdigest()[:16]}"


def _without_addresses(text: str) -> str:
    """Return a text without what is another one in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _digest(functions: Iterator[FunctionType]) -> str:
    seen: set[FunctionType] = set()
    texts = [_of_function(function, seen) for function in functions]
    return sha256("".join(texts).encode()).hexdigest()[:16] if texts else ""


def _functions(value: Any) -> Iterator[FunctionType]:
    """Yield the functions that a call of an object runs, as far as they are the user's."""
    value = getattr(value, "__func__", value)
    if isinstance(value, partial):
        for part in (value.func, *value.args, *value.keywords.values()):
            if callable(part):
                yield from _functions(part)
        return
    if isinstance(value, FunctionType):
        parts: list[Any] = [value]
    else:
        classes = (value if isinstance(value, type) else type(value)).__mro__
        parts = [part for parent in classes for part in vars(parent).values()]
    for part in parts:
        if isinstance(part, FunctionType) and part.__module__.partition(".")[0] not in _LIBRARIES:
            yield part


def _of_function(function: FunctionType, seen: set[FunctionType]) -> str:
    """Return the text of a function, and of what it finds in its module or around it."""
    if function in seen:
        return ""
    seen.add(function)
    found = [function.__globals__.get(name) for name in _names(function.__code__)]
    found += [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    found += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    texts = [_of_code(function.__code__)]
    for value in found:
        if isinstance(value, FunctionType) and value.__module__ == function.__module__:
            texts.append(_of_function(value, seen))
        elif isinstance(value, (*_PLAIN, tuple)):
            texts.append(_without_addresses(repr(value)))
    return " ".join(texts)


def _of_code(code: CodeType) -> str:
    constants = [_of_constant(value) for value in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"


def _of_constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return _of_code(value)
    # The order of a set of texts is another one in every process.
    return repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)


def _names(code: CodeType) -> list[str]:
    inner = [value for value in code.co_consts if isinstance(value, CodeType)]
    return [*code.co_names, *(name for each in inner for name in _names(each))]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
