"""`sedna.common.class_factory` for users' code where KubeEdge's sedna is not installed.

Basemodels and metrics register themselves through that module. KubeEdge's sedna is on no package index, and a package
of that name shipped from here would shadow a real one, so the module is made on demand: a finder at the very end of
`sys.meta_path` answers only for names that nothing else has. An unrelated package called `sedna` keeps working: it
is imported as itself, and only `sedna.common` below it comes from here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from multiedge.errors import did_you_mean

Registered = TypeVar("Registered", bound=Callable[..., Any])

_PACKAGES = ("sedna", "sedna.common")
_MODULE = "sedna.common.class_factory"


class ClassType:
    """The groups that names are registered in."""

    GENERAL = "general"
    HEM = "hard_example_mining"
    FL_AGG = "aggregation"
    MTL = "multi_task_learning"
    STP = "seen_task"
    KM = "knowledge_management"
    UTP = "unseen_task_processing"
    UTD = "unseen_task_detection"
    OS = "open_set"
    CALLBACK = "callback"


class ClassFactory:
    """Classes and functions by group and alias; the last one registered under an alias wins."""

    __registry__: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def register(cls, type_name: str = ClassType.GENERAL, alias: str | None = None) -> Callable[[Registered], Registered]:
        """A decorator that registers what it decorates under `alias`, or under its own name."""

        def decorate(target: Registered) -> Registered:
            return cls.register_cls(target, type_name, alias)

        return decorate

    @classmethod
    def register_cls(cls, t_cls: Registered, type_name: str = ClassType.GENERAL, alias: str | None = None) -> Registered:
        cls.__registry__.setdefault(type_name, {})[alias or t_cls.__name__] = t_cls
        return t_cls

    @classmethod
    def is_exists(cls, type_name: str, cls_name: str | None = None) -> bool:
        names = cls.__registry__.get(type_name)
        return names is not None and (cls_name is None or cls_name in names)

    @classmethod
    def get_cls(cls, type_name: str, t_cls_name: str | None = None) -> Any:
        """What is registered; ValueError that lists near names if there is nothing."""
        names = cls.__registry__.get(type_name, {})
        if t_cls_name not in names:
            hint = did_you_mean(str(t_cls_name), names)
            raise ValueError(f"nothing is registered as '{t_cls_name}' in group '{type_name}'{hint}")
        return names[t_cls_name]


class _Loader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == _MODULE:
            vars(module).update(ClassFactory=ClassFactory, ClassType=ClassType)


class _LastResort(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in (*_PACKAGES, _MODULE):
            return None
        return ModuleSpec(fullname, _Loader(), origin=__name__, is_package=fullname in _PACKAGES)


def install() -> None:
    """Makes `sedna.common.class_factory` importable, unless it is; again does nothing."""
    if not any(isinstance(finder, _LastResort) for finder in sys.meta_path):
        sys.meta_path.append(_LastResort())
