"""What is found by name, edgeopt's own and what other packages add by entry points; loaded when it is used.

A plugin that cannot be loaded, or whose name is taken, is an error of whoever uses that name and of nobody else.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from edgeopt.support.declared import check_declared
from edgeopt.support.errors import HEAVY, InputError, Issue, Place
from edgeopt.support.origin import source_of
from edgeopt.support.words import first_line

T = TypeVar("T")


class Unusable(InputError):
    """A plugin that is installed and cannot be used."""

    def __init__(self, message: str, help: str, place: Place | None = None) -> None:
        self.message, self.help = message, help
        super().__init__(self.at(place))

    def at(self, place: Place | None) -> Issue:
        """The issue, at the place where the plugin is named."""
        return Issue("E122", self.message, place, self.help)


class Registry(Mapping[str, T], Generic[T]):
    """The things of one kind, by their names.

    what: their kind, in a word. ours: edgeopt's own, each as `module:attribute` or as it is. make: of what a name
    stands for, and the name, the thing itself; raises TypeError where it is none.
    """

    def __init__(self, group: str, what: str, ours: Mapping[str, object], make: Callable[[object, str], T]) -> None:
        self.group, self.what, self.ours, self.make = group, what, ours, make
        self._made: dict[str, T] = {}
        _ALL.append(self)

    def __getitem__(self, name: str) -> T:
        """The thing of a name. Raises KeyError where there is none, and Unusable."""
        if name not in self._made:
            self._made[name] = self._load(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        """Every name, edgeopt's own first, and those of plugins that cannot be used too."""
        return iter(dict.fromkeys([*self.ours, *sorted({*_plugins(self.group), *self._made})]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self.ours or name in self._made or name in _plugins(self.group)

    def find(self, name: str) -> T | None:
        """What has this name; None where there is none, or none that can be used."""
        return self[name] if name in self and self.fault(name) is None else None

    def needed(self, name: str, place: Place | None = None) -> T:
        """What has this name. Raises InputError E122 where no installed package has it, or it cannot be used."""
        if name not in self:
            raise Unusable(
                f"the {self.what} '{name}' is of a plugin that is not installed here",
                f"install the package whose entry points '{self.group}' name it",
                place,
            )
        if (fault := self.fault(name)) is not None:
            raise InputError(fault.at(place))
        return self[name]

    def usable(self) -> dict[str, T]:
        """All but the plugins that cannot be used."""
        return {name: self[name] for name in self if self.fault(name) is None}

    def faults(self) -> list[Unusable]:
        """Why plugins cannot be used that are installed."""
        return [fault for name in _plugins(self.group) if (fault := self.fault(name)) is not None]

    def fault(self, name: str) -> Unusable | None:
        """Why what has this name cannot be used, if so."""
        try:
            self[name]
        except Unusable as error:
            return error
        return None

    def origin(self, name: str, made: object) -> dict[str, str]:
        """Which code a plugin's results are of, for the keys: its source, and its package. Empty for edgeopt's own.

        made: the thing of that name.
        """
        source = source_of(made)
        packages = {f"{e.dist.name} {e.dist.version}" for e in _plugins(self.group).get(name, ()) if e.dist}
        return {} if source is None else {"source": source, **({"package": min(packages)} if packages else {})}

    def installed(self) -> dict[str, str]:
        """Where the plugins are from that other packages add and that can be used, by their names."""
        return {name: _whose(e) for name, (e, *_) in _plugins(self.group).items() if _is_others(e) and self.find(name)}

    @contextmanager
    def holding(self, name: str, given: object) -> Iterator[None]:
        """Within, the name stands for what is given, as if a package had registered it: for conformance tests.

        Raises TypeError.
        """
        before = self._made.get(name)
        self._made[name] = self._checked(given, name)
        try:
            yield
        finally:
            del self._made[name]
            if before is not None:
                self._made[name] = before

    def _load(self, name: str) -> T:
        found = _plugins(self.group).get(name, ())
        given = self.ours.get(name)
        others = [entry for entry in found if entry.value != given]
        if given is not None and not others:
            return self.make(_resolved(given), name)
        if not found:
            raise KeyError(name)
        if len(found) > 1 or given is not None:
            whose = [*(["edgeopt itself"] if given is not None else []), *map(_whose, others)]
            raise Unusable(
                f"there is more than one {self.what} '{name}': of {' and of '.join(whose)}",
                "uninstall one of the packages, or rename its plugin",
            )
        return self._loaded(found[0], name)

    def _loaded(self, entry: EntryPoint, name: str) -> T:
        help = f"fix or uninstall {_whose(entry)}, or use another {self.what}"
        try:
            return self._checked(entry.load(), name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # it is somebody else's code, which may also try to end the process
            if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in HEAVY:
                raise  # which `unforeseen` says better
            what = first_line(error) if isinstance(error, TypeError) else f"{type(error).__name__}: {first_line(error)}"
            raise Unusable(f"the {self.what} '{name}' of {_whose(entry)} cannot be used: {what}", help) from error

    def _checked(self, given: object, name: str) -> T:
        made = self.make(given, name)
        check_declared(made)
        source_of(made)  # now, as it may be edited while this process runs
        return made


def instance_of(kind: type[Any], what: str) -> Callable[[object, str], Any]:
    """How a registry makes its things where each is of a class and says its own name.

    An instance stands for itself, a class for one of it. Raises TypeError where it is of another class, or calls itself
    something else.
    """

    def make(given: object, name: str) -> Any:
        made = given() if isinstance(given, type) else given
        if not isinstance(made, kind):
            raise TypeError(f"{given!r} is no {kind.__name__}")
        if (own := getattr(made, "name", None)) != name:
            raise TypeError(f"the {what} registered as {name!r} calls itself {own!r}")
        return made

    return make


_ALL: list[Registry[Any]] = []


def every() -> tuple[Registry[Any], ...]:
    """All registries that this process knows of."""
    return tuple(_ALL)


@functools.cache
def _plugins(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of a group by their names; those that lead to the same thing are one."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, {}).setdefault(entry.value, entry)
    return {name: tuple(entries.values()) for name, entries in found.items()}


def forget() -> None:
    """Look for plugins anew: for a test, or a notebook in which one was just installed."""
    _plugins.cache_clear()
    for registry in _ALL:
        registry._made.clear()


def _resolved(given: object) -> object:
    if not isinstance(given, str):
        return given
    module, _, attribute = given.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _is_others(entry: EntryPoint) -> bool:
    return entry.dist is None or entry.dist.name != "edgeopt"


def _whose(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version} ({entry.value})" if entry.dist else entry.value
