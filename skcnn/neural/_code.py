"""What objects of the user's are and do, as texts that two of them can be compared by."""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Iterator
from functools import cached_property, partial
from hashlib import sha256
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

# Their versions are not the user's doing, nor those of what is installed as other packages are.
_LIBRARIES = {"skcnn", "torch", "sklearn", *sys.stdlib_module_names}
_INSTALLED = ("site-packages", "dist-packages")
# Objects of these are what they are called.
_STATELESS = {"numpy", *sys.stdlib_module_names}
_SCALARS = (type(None), str, bytes, int, float, complex, np.generic)


def description(value: Any) -> str:
    """Return what a parameter is, and if that does not say it all, a digest of what it does."""
    return repr(value) if _is_plain(value) else f"{_name(value)} {_digest(value)}"


def of_network(network: nn.Module) -> str:
    """Return a text of a network's layers, their weights' shapes, and the user's own code."""
    shapes = [(name, tuple(value.shape)) for name, value in network.state_dict().items()]
    kinds = list(dict.fromkeys(type(layer) for layer in network.modules()))
    layers = _digest([_without_addresses(repr(network)), shapes, kinds])
    return f"{len(shapes)} arrays in layers {layers}"


def _is_plain(value: Any) -> bool:
    """Tell whether the text of a value says all of it, in every process."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return isinstance(value, _SCALARS)


def _name(value: Any) -> str:
    said = isinstance(value, partial) and _is_plain([value.args, value.keywords])
    if said or type(value).__module__.startswith("skcnn."):
        return _without_addresses(repr(value))
    if hasattr(value, "__qualname__"):
        return f"<{type(value).__name__} {value.__qualname__}>"
    return f"<{type(value).__qualname__}>"


def _without_addresses(text: str) -> str:
    """Return a text without what is another one in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _digest(value: Any) -> str:
    return sha256(" ".join(_Walk().texts(value)).encode()).hexdigest()[:16]


def _package(owner: Any) -> str:
    return (getattr(owner, "__module__", None) or "").partition(".")[0]


def _is_own(owner: Any) -> bool:
    """Tell whether a function or class is the user's."""
    module = sys.modules.get(getattr(owner, "__module__", None) or "")
    file = getattr(module, "__file__", None) or ""
    return _package(owner) not in _LIBRARIES and not any(part in file for part in _INSTALLED)


class _Walk:
    """A walk through an object, the user's functions that it runs, and what these are made with.

    Of a module's variables only functions and classes are looked at, and of those around a function
    not what it assigns to: others may be counters, or times.
    """

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}

    def texts(self, value: Any) -> Iterator[str]:
        """Yield texts that say what an object is."""
        if _is_plain(value):
            yield repr(value)
        elif id(value) not in self._seen:
            self._seen[id(value)] = value
            yield type(value).__qualname__
            yield from self._of(value)

    def _all(self, *values: Any) -> Iterator[str]:
        for value in values:
            yield from self.texts(value)

    def _of(self, value: Any) -> Iterator[str]:
        if isinstance(value, FunctionType):
            yield from self._function(value)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, (np.ndarray, torch.Tensor)):
            yield from self._array(value)
        elif isinstance(value, (set, frozenset)):
            yield from sorted(" ".join(_Walk().texts(each)) for each in value)
        elif isinstance(value, (list, tuple)):
            yield from self._all(*value)
        elif isinstance(value, dict):
            yield from self._all(*value.keys(), *value.values())
        elif isinstance(value, MethodType):
            yield from self._all(value.__func__, value.__self__)
        elif isinstance(value, partial):
            yield from self._all(value.func, value.args, value.keywords)
        elif isinstance(value, property):
            yield from self._all(value.fget, value.fset)
        elif isinstance(value, cached_property):
            yield from self.texts(value.func)
        elif hasattr(value, "__wrapped__"):  # static methods, cached functions
            yield from self.texts(value.__wrapped__)
        elif isinstance(value, ModuleType) or _package(type(value)) in _STATELESS:
            yield _without_addresses(repr(value))
        else:
            yield from self._all(type(value), _state(value))

    def _array(self, value: np.ndarray | torch.Tensor) -> Iterator[str]:
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        yield f"{array.dtype} {array.shape}"
        if array.dtype.kind == "O":
            yield from self._all(*array.ravel().tolist())
        else:
            yield sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

    def _class(self, cls: type) -> Iterator[str]:
        yield f"{cls.__module__}.{cls.__qualname__}"
        for parent in filter(_is_own, cls.__mro__):
            for name, part in vars(parent).items():
                if _is_plain(part) and not name.startswith("__"):
                    yield f"{name}={part!r}"
                elif _runs(part) or isinstance(part, (property, cached_property)):
                    yield from self.texts(part)

    def _function(self, function: FunctionType) -> Iterator[str]:
        yield function.__qualname__
        if not _is_own(function):
            return
        code = function.__code__
        yield _of_code(code)
        assigned = _named(code, {"STORE_DEREF", "DELETE_DEREF"})
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if name not in assigned and _is_filled(cell):
                yield from self.texts(cell.cell_contents)
        yield from self._all(function.__defaults__, function.__kwdefaults__)
        for name in sorted(_named(code, {"LOAD_GLOBAL", "LOAD_NAME"})):
            value = function.__globals__.get(name)
            if _runs(value) and (isinstance(value, partial) or _is_own(value)):
                yield from self.texts(value)


def _runs(value: Any) -> bool:
    """Tell whether a value is a function or a class, or made of one."""
    return isinstance(value, (FunctionType, type, partial)) or hasattr(value, "__wrapped__")


def _state(value: Any) -> list:
    """Return the names and values of an object's attributes."""
    slots: dict[str, Any] = {}
    for parent in type(value).__mro__:
        names = vars(parent).get("__slots__", ())
        for name in [names] if isinstance(names, str) else names:
            if hasattr(value, name):
                slots[name] = getattr(value, name)
    return [slots, getattr(value, "__dict__", {})]


def _of_code(code: CodeType) -> str:
    constants = [_of_constant(value) for value in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"


def _of_constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return _of_code(value)
    # The order of a set of texts is another one in every process.
    return repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)


def _named(code: CodeType, operations: set[str]) -> set[str]:
    """Return the names that some operations of the code, and of functions in it, are about."""
    names = {one.argval for one in dis.get_instructions(code) if one.opname in operations}
    inner = [value for value in code.co_consts if isinstance(value, CodeType)]
    return names.union(*(_named(each, operations) for each in inner))


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
