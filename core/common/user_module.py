"""Users' python files, each with its own modules.

Two algorithms may both have a `basemodel.py` that registers the alias 'BaseModel' and imports a sibling `utils`. Python
keeps one module per name, so the second would run the first's code without a warning. Here every file has its own modules,
which are in `sys.modules` only while its code runs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

from core.common.utils import one_line
from multiedge.errors import ConfigError, did_you_mean

_SHARED = ("core", "multiedge", "partitioners", "profilers", "sedna", "__main__")


class UserModule:
    """A python file, or a package's folder, and what it registers under `alias`."""

    def __init__(self, url: str, alias: str) -> None:
        self.url = url
        self.alias = alias
        self._path = os.path.abspath(url)
        self._folder, file = os.path.split(self._path)
        self._name = os.path.splitext(file)[0]
        self._own: dict[str, ModuleType] = {}
        self._search = [self._folder]
        self._registered: Any = None
        self._is_active = False

    @contextmanager
    def active(self) -> Iterator[None]:
        """Makes the file's own modules and search path active in the block, also for lazy imports and pickling."""
        if self._is_active:
            yield
            return
        path, before = list(sys.path), dict(sys.modules)
        self._is_active = True
        sys.path[:0] = self._search
        sys.modules.update(self._own)
        try:
            yield
        finally:
            self._is_active = False
            self._search = [entry for entry in dict.fromkeys(sys.path) if entry in self._search or entry not in path]
            sys.path[:] = path
            self._remove_own(before)

    def _remove_own(self, before: dict[str, ModuleType]) -> None:
        for name, module in list(sys.modules.items()):
            new = before.get(name) is not module
            if name in self._own or (new and self._is_own(name)):
                self._own[name] = sys.modules.pop(name)
        sys.modules.update({name: module for name, module in before.items() if name in self._own})

    def _is_own(self, name: str) -> bool:
        """Whether a module's top package is directly in the file's folder, as a sibling is."""
        top = name.partition(".")[0]
        path = os.path.join(self._folder, top)
        root = sys.modules.get(top)
        if top in _SHARED or root is None:
            return False
        origins = [getattr(root, "__file__", None) or "", *(getattr(root, "__path__", None) or [])]
        return any(os.path.abspath(origin) in (f"{path}.py", os.path.join(path, "__init__.py"), path) for origin in origins)

    def registered(self) -> Any:
        """The class or function that the file registers under its alias; the file runs once.

        Raises ConfigError if the file cannot be imported or registers no such alias.
        """
        if self._registered is None:
            self._registered = self._load()
        return self._registered

    def _load(self) -> Any:
        factory, group = _class_factory()
        names: dict[str, Any] = factory.__registry__.setdefault(group, {})
        others = dict(names)
        # Registrations of other files must not be used here, even under the same alias.
        names.clear()
        try:
            with self.active():
                self._execute()
            if self.alias not in names:
                raise ConfigError(f"{self.url}: registers nothing as '{self.alias}'{did_you_mean(self.alias, names)}")
            return names[self.alias]
        finally:
            names.update({**others, **names})

    def _execute(self) -> None:
        importlib.invalidate_caches()
        try:
            if os.path.isdir(self._path):
                importlib.import_module(self._name)
                return
            spec = spec_from_file_location(self._name, self._path)
            if spec is None or spec.loader is None:
                raise ImportError("not a python file")
            module = module_from_spec(spec)
            # A file with the name of an imported module (`random.py`) must not replace it.
            if self._name not in sys.modules:
                sys.modules[self._name] = module
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{self.url}: cannot be imported: {one_line(error)}") from error


def _class_factory() -> tuple[Any, str]:
    """KubeEdge's registry where it is installed, otherwise ours; users' files import it by the same name."""
    module = importlib.import_module("sedna.common.class_factory")
    return module.ClassFactory, module.ClassType.GENERAL
