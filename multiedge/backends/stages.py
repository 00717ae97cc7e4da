"""From a backend's name and the file of a part to an open session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multiedge.backends import BACKENDS
from multiedge.backends.automatic import pass_on as pass_on
from multiedge.backends.automatic import resolved as resolved
from multiedge.backends.automatic import resolved_fleet as resolved_fleet
from multiedge.backends.contract import Array, Backend, Session, Tensors
from multiedge.backends.conversion.ready import ready
from multiedge.backends.conversion.write import write_converted
from multiedge.backends.guarded import OpenFiles, guarded
from multiedge.backends.kept import key_of, made_once
from multiedge.backends.loading import load_backend as load_backend
from multiedge.backends.loading import named_errors
from multiedge.backends.stateful import StatefulSession
from multiedge.errors import ChangedError, ConfigError, MultiedgeError, ProfileError, did_you_mean, one_line
from multiedge.fleet import AUTO_BACKEND, Device, Fleet
from multiedge.measurements import RanStage
from multiedge.onnx_io.manifest import fingerprint, require_unchanged
from multiedge.onnx_io.stated import is_composed
from multiedge.plan import Part, Runtime
from multiedge.profile import MemoryUse
from multiedge.states import Extended, State
from multiedge.transports import MAPPED_MESSAGES

BackendOptions = Mapping[str, Mapping[str, Any]]
"""Options of backends, by the backend's name."""
CONVERTED = ".converted"
"""The folder beside a part that keeps what backends convert it into."""
SESSION_MEMBERS = ("inputs", "outputs", "batch_is_free", "provider", "run", "close")


def device_backend(device: Device, options: BackendOptions | None = None) -> Backend:
    """The backend of the device, with its precision and those of the options that are for it.

    `auto` is what suits the hardware; `resolved` tells what was measured of a stage. ConfigError if the backend does not
    compute with the device's precision, or if an option gives it another one.
    """
    device = resolved(device)
    own = (options or {}).get(device.backend, {})
    backend = load_backend(device.backend, own)
    if device.precision in ("", backend.numbers):
        return backend
    if device.precision not in backend.selectable:
        raise ConfigError(
            f"device '{device.name}': expected a precision of backend '{device.backend}', {' or '.join(backend.selectable)},"
            f" got '{device.precision}'; change its precision or its backend"
        )
    if "precision" in own:
        raise ConfigError(
            f"device '{device.name}': its precision is {device.precision}, and {own['precision']} in the options of backend"
            f" '{device.backend}'; leave one of them out"
        )
    return load_backend(device.backend, {**own, "precision": device.precision})


def options_for(device: Device, options: BackendOptions) -> dict[str, dict[str, Any]]:
    """Those of the options that the device's stages may need: of its backend; with `auto`, of every backend."""
    return {name: dict(own) for name, own in options.items() if device.backend in (AUTO_BACKEND, name)}


def memory_use_of(fleet: Fleet, options: BackendOptions | None = None) -> MemoryUse:
    """How workers hold stages on these devices; the larger figures where their backends differ."""
    use = MemoryUse(buffered_items=MAPPED_MESSAGES)
    for name in dict.fromkeys(device.backend for device in resolved_fleet(fleet).devices):
        use = use.at_least(load_backend(name, (options or {}).get(name)).memory_use())
    return use


def runtime_of(device: Device, options: BackendOptions | None = None) -> Runtime:
    """What computes the stages of the device; the version is '' where its runtime is not installed."""
    device = resolved(device)
    backend = device_backend(device, options)
    try:
        version = backend.version
    except (MultiedgeError, ImportError):  # plans are made for other machines, too
        version = ""
    return Runtime(device.backend, version, backend.numbers)


def require_backend_options(fleet: Fleet, options: BackendOptions, parts: Iterable[Path] = ()) -> None:
    """ConfigError for options of a backend that no device of the fleet has, and for those that their backend refuses.

    Of devices whose backend is `auto`, those count that it stands for, also for one of the `parts`.
    """
    if not options:
        return
    known: tuple[Path | None, ...] = (None, *parts)
    used = {resolved(device, part).backend for device in fleet.devices for part in known}
    for name, values in options.items():
        if name not in used:
            raise ConfigError(f"backends: no device of {fleet.name} has the backend '{name}'{did_you_mean(name, used)}")
        load_backend(name, values)


def require_backends(fleet: Fleet) -> None:
    """ConfigError that names the first device whose backend is not registered. No runtime is imported.

    The first device, too, whose backend does not compute with the precision that the device states.
    """
    for device in fleet.devices:
        if device.backend != AUTO_BACKEND and not BACKENDS.is_own(device.backend):
            BACKENDS.find(device.backend, f"{fleet.name}: device '{device.name}': ")
        if device.precision:
            device_backend(device)


def open_part(backend: Backend, part: Path, device: Device | None = None, keep: Path | None = None) -> Session:
    """A session on a part, which is converted first if the backend does not open such files; see `openable`. Of a file that was
    composed of a workflow, the backend opens the models.

    ConfigError if the backend does not compute on the device's processor, ModelError if it cannot open or convert the part,
    ChangedError, also from `run`, if what the part was converted into is written to while it is open.
    """
    if device is not None and device.gpu is not None and "gpu" not in backend.processors:
        raise ConfigError(
            f"device '{device.name}': expected a type that backend '{device.backend}' computes on,"
            f" {' or '.join(backend.processors)}, got '{device.type}'; change its type or its backend"
        )
    if part.suffix == ".onnx" and is_composed(part):
        return _open_composed(backend, part, device, keep or part.parent / CONVERTED)
    path = openable(backend, part, keep)
    made = OpenFiles(_files_of(path, part), "open it again, which converts it again")
    try:
        session = _opened(backend, part, path, device)
        made.require_unchanged()
    except BaseException:
        made.close()
        raise
    return guarded(session, made) if made else session


def _open_composed(backend: Backend, part: Path, device: Device | None, keep: Path) -> Session:
    """A session on a composed file. Conversions of its models are kept beside them."""
    from multiedge.backends.composed.opening import folder_of, open_composed  # not needed to plan

    session = open_composed(part, keep, lambda model: open_part(backend, model, device))
    files = OpenFiles(_files_of(folder_of(part, keep), part), "open it again")
    return guarded(session, files)


def _files_of(path: Path, part: Path) -> list[Path]:
    """What the conversion of `part` that is opened at `path` consists of; nothing if the part itself is opened."""
    return [] if path == part else sorted(each for each in path.parent.iterdir() if each.is_file())


def _opened(backend: Backend, part: Path, path: Path, device: Device | None) -> Session:
    with named_errors(f"{part}: {type(backend).__name__} cannot open this file"):
        session = backend.open(path, device)
    absent = [name for name in SESSION_MEMBERS if not hasattr(session, name)]
    if absent:
        raise ConfigError(
            f"{type(backend).__name__}.open: expected a session, got an object of {type(session).__name__} without"
            f" {', '.join(absent)}"
        )
    return session


def open_stage(backend: Backend, folder: Path, part: Part, device: Device | None = None) -> Session:
    """A session on a part of a plan's folder, whose files must be those that the plan was read with.

    ChangedError if one is missing or has changed, also while the backend reads it, and from `run` if the weights of the part
    are written to later; otherwise as `open_part`.
    """
    weights = OpenFiles(folder / name for name in part.files if name != part.file and (folder / name).is_file())
    try:
        before = require_unchanged(folder, part.files)
        opened = open_part(for_states(backend, part.states), folder / part.file, device)
        session = stateful(opened, part.states, part.extended, part.sequences, part.returned)
        changed = [name for name, known in before.items() if fingerprint(folder / name) != known]
        if changed:
            session.close()
            raise ChangedError(f"{folder}: '{changed[0]}' has changed while it was loaded; write the parts again", changed)
    except BaseException:
        weights.close()
        raise
    return guarded(session, weights) if weights else session


def for_states(backend: Backend, states: Iterable[State]) -> Backend:
    """The backend with the settings for a part with these states."""
    return backend.for_growing() if any(state.axis is not None for state in states) else backend


def stateful(
    session: Session,
    states: Sequence[State] = (),
    extended: Sequence[Extended] = (),
    sequences: int = 1,
    returned: Sequence[str] = (),
) -> Session:
    """The session, which keeps the states of sequences if there are any; `returned` are outputs that go to the caller alone."""
    return StatefulSession(session, states, extended, sequences, returned) if states or extended else session


@dataclass(frozen=True)
class OpenStage:
    """An open stage and what computes it."""

    session: Session
    ran: RanStage


def open_on(device: Device, options: BackendOptions, folder: Path, part: Part) -> OpenStage:
    """A part of a plan's folder, opened as the device runs it: with `auto`, as was measured to be the fastest for this part.

    ConfigError for options or a precision that the backend refuses; otherwise as `open_stage`.
    """
    chosen = resolved(device, folder / part.file)
    backend = device_backend(chosen, options)
    session = open_stage(backend, folder, part, chosen)
    computes = (chosen.backend, backend.version, backend.numbers, session.provider.name)
    return OpenStage(session, RanStage(part.stage, device.name, *computes))


def openable(backend: Backend, part: Path, keep: Path | None = None) -> Path:
    """The part itself, or what the backend converted it into.

    That is kept in the folder `keep`, by default one beside the part, until the part, the backend or its options change. For a
    backend with tolerances it is only what has passed the comparison with the reference.
    """
    if backend.opens(part) or not part.is_file():
        return part
    keep = keep or part.parent / CONVERTED
    if part.suffix == ".onnx" and (backend.tolerances or backend.is_approximate):
        return ready(backend, part, keep)
    name = f"{part.stem}{backend.formats[0]}"
    folder = keep / key_of(part, backend, backend.version)
    return made_once(folder, lambda draft: write_converted(backend, part, draft / name), "converted parts") / name


@dataclass(frozen=True)
class Call:
    """A session and what it is fed; calling it runs the session once. `path` is the file that errors name."""

    session: Session
    feed: Tensors
    path: Path

    def __call__(self) -> dict[str, Array]:
        """The outputs. What the runtime raises becomes a ProfileError that names the file and the shapes."""
        try:
            return self.session.run(self.feed)
        except MultiedgeError:
            raise
        except Exception as error:  # each runtime has its own classes of errors
            shapes = ", ".join(f"{name} {list(np.shape(value))}" for name, value in self.feed.items())
            raise ProfileError(f"{self.path}: cannot be run with {shapes}: {one_line(error)}") from error
