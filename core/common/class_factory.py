"""`sedna.common.class_factory` for users' code where KubeEdge's sedna is not installed.

Basemodels and metrics register themselves through that module. KubeEdge's sedna is on no package index, and a package of
that name in this distribution would shadow a real one. Therefore the module is made in memory when the host starts, and
only if no installed `sedna` has it. An unrelated package called `sedna` still works: it is not imported, and only
`sedna.common` below it is replaced.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any, ClassVar, TypeVar

from multiedge.errors import did_you_mean

Registered = TypeVar("Registered", bound=Callable[..., Any])

_COMMON = "sedna.common"
_MODULE = "sedna.common.class_factory"


class ClassType:
    """The groups in which names are registered."""

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
    """Classes and functions by group and alias; the last registration of an alias is used."""

    __registry__: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def register(cls, type_name: str = ClassType.GENERAL, alias: str | None = None) -> Callable[[Registered], Registered]:
        """A decorator that registers a class or function under `alias`, or under its own name."""

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
        """The registered class or function; ValueError with similar names if there is none."""
        names = cls.__registry__.get(type_name, {})
        if t_cls_name not in names:
            hint = did_you_mean(str(t_cls_name), names)
            raise ValueError(f"nothing is registered as '{t_cls_name}' in group '{type_name}'{hint}")
        return names[t_cls_name]


def install() -> None:
    """Makes `sedna.common.class_factory` importable, unless KubeEdge's is. A second call does nothing."""
    if _MODULE in sys.modules:
        return
    installed = importlib.util.find_spec("sedna")
    if installed is not None and _is_kubeedge(installed):
        return
    for name in (_COMMON, _MODULE) if installed else ("sedna", _COMMON, _MODULE):
        module = importlib.util.module_from_spec(ModuleSpec(name, None, origin=__name__, is_package=name != _MODULE))
        sys.modules[name] = module
        parent, _, attribute = name.rpartition(".")
        # An unrelated `sedna` is neither imported nor changed.
        if parent and not (installed and parent == "sedna"):
            setattr(sys.modules[parent], attribute, module)
    vars(sys.modules[_MODULE]).update(ClassFactory=ClassFactory, ClassType=ClassType)


def _is_kubeedge(sedna: ModuleSpec) -> bool:
    folders = sedna.submodule_search_locations or []
    return any(os.path.isfile(os.path.join(folder, "common", "class_factory.py")) for folder in folders)
