"""The models of a server: which are loaded, and who uses them. Loading and unloading may happen while requests run.

A request that has begun keeps its model: one that is unloaded or replaced meanwhile is closed when its last request has ended.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from multiedge.errors import one_line
from multiedge.serving.inference.contract import NotFound, ServedModel, Unavailable, Unsupported
from multiedge.serving.inference.slots import Slots
from multiedge.serving.inference.statistics import Counters, Statistics

LOGGER = logging.getLogger("multiedge.serving")
Loader = Callable[[], ServedModel]
"""Opens a model; raises any error if that fails."""


class State(Enum):
    """A model's state, in the words of the protocol's index."""

    READY = "READY"
    LOADING = "LOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True)
class IndexEntry:
    """A model in the index; `reason` says why it is not ready, '' for one that is or that nobody loaded."""

    name: str
    version: str
    state: State
    reason: str

    @property
    def is_ready(self) -> bool:
        return self.state is State.READY


class Loaded:
    """A loaded model, its slots and counters; `users` requests use it now."""

    def __init__(self, model: ServedModel, counters: Counters) -> None:
        self.model, self.counters = model, counters
        self.slots = Slots(model.name, model.concurrency, model.most_waiting)
        self.users = 0
        self.is_retired = False

    @property
    def is_ready(self) -> bool:
        return self.model.is_ready and not self.slots.is_stuck


class _Entry:
    """What the repository knows of a name."""

    def __init__(self, loader: Loader | None) -> None:
        self.loader = loader
        self.loaded: Loaded | None = None
        self.is_loading = False
        self.reason = ""
        self.counters = Counters()
        self.turn = threading.Lock()
        """Held while it is loaded or unloaded, one after the other."""

    @property
    def state(self) -> State:
        if self.loaded:
            return State.READY
        return State.LOADING if self.is_loading else State.UNAVAILABLE


class ModelRepository:
    """Models by name. One that has a loader can be loaded and unloaded by clients."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._retired: set[Loaded] = set()
        self._lock = threading.Lock()

    def put(self, model: ServedModel, loader: Loader | None = None) -> None:
        """Serves a model from now on, in the place of one of the same name."""
        with self._lock:
            entry = self._entries.setdefault(model.name, _Entry(loader))
            entry.loader = loader
        self._exchange(entry, model, "")

    def declare(self, name: str, loader: Loader) -> None:
        """Makes a model known that clients may load."""
        with self._lock:
            self._entries.setdefault(name, _Entry(loader)).loader = loader

    def remove(self, name: str) -> None:
        """Forgets a model; requests that have begun are answered. Names that are not known do not matter."""
        with self._lock:
            entry = self._entries.pop(name, None)
        if entry:
            self._exchange(entry, None, "")

    def load(self, name: str) -> None:
        """Loads a model, or loads it again: until the new one is there, the old one answers.

        Raises NotFound, Unsupported for one without a loader, and what the loader raises; the old one stays then.
        """
        entry = self._entry(name)
        with entry.turn:
            if entry.loader is None:
                raise Unsupported(f"model '{name}' was given to the server as it is and cannot be loaded")
            entry.is_loading = True
            try:
                model = entry.loader()
            except BaseException as error:
                entry.reason = one_line(error)
                raise
            finally:
                entry.is_loading = False
            self._exchange(entry, model, "")

    def unload(self, name: str) -> None:
        """From now on requests are refused; those that have begun are answered. Raises NotFound or Unsupported."""
        entry = self._entry(name)
        with entry.turn:
            if entry.loader is None:
                raise Unsupported(f"model '{name}' cannot be loaded again, so it is not unloaded")
            self._exchange(entry, None, "unloaded")

    @contextmanager
    def using(self, name: str, version: str = "") -> Iterator[Loaded]:
        """A model that stays open for the block. Raises NotFound or Unavailable."""
        loaded = self._take(name, version)
        try:
            yield loaded
        finally:
            with self._lock:
                loaded.users -= 1
            self._close_if_unused(loaded)

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether a model is there and can answer; False for one that is not known."""
        try:
            with self.using(name, version) as loaded:
                return loaded.is_ready
        except (NotFound, Unavailable):
            return False

    def index(self) -> tuple[IndexEntry, ...]:
        """All models, by name; one entry for each version of a loaded model."""
        with self._lock:
            return tuple(
                IndexEntry(name, version, entry.state, entry.reason)
                for name, entry in sorted(self._entries.items())
                for version in (entry.loaded.model.versions if entry.loaded else ()) or ("",)
            )

    def statistics(self, name: str = "", version: str = "") -> tuple[tuple[ServedModel, Statistics], ...]:
        """Those of one loaded model, or of all. Raises NotFound or Unavailable for a name."""
        if name:
            with self.using(name, version) as loaded:
                return ((loaded.model, loaded.counters.read()),)
        with self._lock:
            all_loaded = [entry.loaded for _, entry in sorted(self._entries.items()) if entry.loaded]
        return tuple((loaded.model, loaded.counters.read()) for loaded in all_loaded)

    @property
    def is_computing(self) -> bool:
        """Whether a request is computed, by a model that is served or was."""
        with self._lock:
            return any(loaded.slots.is_running for loaded in (*self._loaded(), *self._retired))

    def close(self) -> None:
        """Closes all models that compute nothing; the others are closed when their last request ends."""
        with self._lock:
            entries, self._entries = list(self._entries.values()), {}
        for entry in entries:
            self._exchange(entry, None, "")

    def _loaded(self) -> list[Loaded]:
        return [entry.loaded for entry in self._entries.values() if entry.loaded]

    def _entry(self, name: str) -> _Entry:
        with self._lock:
            return self._known(name)

    def _known(self, name: str) -> _Entry:
        if name not in self._entries:
            raise NotFound(f"no model '{name}' here; there are {', '.join(sorted(self._entries)) or 'none'}")
        return self._entries[name]

    def _take(self, name: str, version: str) -> Loaded:
        with self._lock:
            entry = self._known(name)
            if entry.loaded is None:
                if entry.is_loading:
                    raise Unavailable(f"model '{name}' is being loaded")
                raise Unavailable(f"model '{name}' is not loaded{f': {entry.reason}' if entry.reason else ''}")
            versions = entry.loaded.model.versions
            if version and version not in versions:
                raise NotFound(f"model '{name}' has no version '{version}'; there are {', '.join(versions) or 'none'}")
            entry.loaded.users += 1
            return entry.loaded

    def _exchange(self, entry: _Entry, model: ServedModel | None, reason: str) -> None:
        with self._lock:
            old, entry.loaded = entry.loaded, Loaded(model, entry.counters) if model else None
            entry.reason = reason
            if old:
                old.is_retired = True
                self._retired.add(old)
        if old:
            self._close_if_unused(old)

    def _close_if_unused(self, loaded: Loaded) -> None:
        with self._lock:
            if not loaded.is_retired or loaded.users or loaded not in self._retired:
                return
            self._retired.remove(loaded)
        try:
            loaded.model.close()
        except Exception as error:  # the request in whose thread this happens has its answer
            LOGGER.warning("model '%s' was not closed: %s", loaded.model.name, one_line(error))
