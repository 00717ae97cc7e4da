"""Every error that the library raises on purpose.

```text
MultiedgeError
├── ConfigError            a file or option of the user: place, expectation, finding, remedy
│   └── WorkflowError      a workflow that cannot be composed; `mistakes` lists all errors
├── ModelError             an ONNX model that cannot be read or is invalid
│   ├── CutError           a model that cannot be cut at this place
│   └── UnknownSizeError   sizes of tensors that must be known; it has the shapes to give
├── ProfileError           a profile that is damaged, or does not fit the model or the fleet
├── PlanError              a plan that is damaged or cannot run; `violations` lists all errors
│   ├── ChangedError       files of a plan that are not those that it was made with
│   └── InfeasibleError    no plan fits the fleet; the message has the smallest change that helps
├── PipelineError          a pipeline that could not start or continue
│   └── StageError         one stage failed; it has stage, device and item
├── NetworkError           a hub or a node that cannot be reached, or that refused a request; it has the status
└── MissingDependencyError an optional package is not installed; the message has the install command
```
"""

from __future__ import annotations

import datetime
import itertools
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

MAX_PORT = 65535
_LONG = 60
"""Characters of a text that an error shows."""


class MultiedgeError(Exception):
    """Base of all errors of this library: `str(error)` is one line for the user, whatever names from files it has.

    Attributes:
        lines: The lines that the command prints: more than one where several errors are listed.
    """

    @property
    def lines(self) -> tuple[str, ...]:
        return (str(self),)

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(MultiedgeError):
    """A value in a file or on the command line that cannot be used."""


class WorkflowError(ConfigError):
    """A workflow that cannot be composed.

    Attributes:
        mistakes: One text for each error, with its place and what to do.
    """

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(self.mistakes))

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(map(printable, self.mistakes))


class ModelError(MultiedgeError):
    """An ONNX model that cannot be read or is invalid."""


class CutError(ModelError):
    """A model that cannot be cut at this place."""


class UnknownSizeError(ModelError):
    """Sizes of tensors that must be known and are not.

    Attributes:
        model: Name of the model.
        tensors: Names of the tensors without a known size.
        examples: For each input whose shape must be given, one that fits, by name; empty if all inputs are known.
        declared: The shape of these inputs in the model; None if it has none.
        has_states: Whether the model has states, so that a context gives all shapes.
    """

    def __init__(
        self,
        model: str,
        tensors: Sequence[str],
        examples: Mapping[str, tuple[int, ...]],
        declared: Mapping[str, tuple[int | str | None, ...] | None],
        has_states: bool = False,
    ) -> None:
        self.model = model
        self.tensors = tuple(tensors)
        self.examples = dict(examples)
        self.declared = dict(declared)
        self.has_states = has_states
        super().__init__(self._line())

    @property
    def options(self) -> str:
        """The options of the command line that give the shapes."""
        if self.has_states:
            return "--context 1024"
        shapes = (f"{name}={','.join(map(str, shape))}" for name, shape in self.examples.items())
        return " ".join(f"--shape {shlex.quote(shape)}" for shape in shapes)

    def _line(self) -> str:
        if not self.examples:
            more = f" and {len(self.tensors) - 1} more" if len(self.tensors) > 1 else ""
            return (
                f"{self.model}: the size of '{self.tensors[0]}'{more} depends on the data;"
                " add --measure-shapes to measure it in one run on random inputs"
            )
        shapes = [f"'{name}' {shape_text(shape)}" for name, shape in self.declared.items()]
        inputs = f"input {shapes[0]} has" if len(shapes) == 1 else f"inputs {', '.join(shapes)} have"
        return f"{self.model}: {inputs} open dimensions; add {self.options} (with your sizes)"


def shape_text(shape: Sequence[int | str | None] | None) -> str:
    """
    >>> shape_text((1, "n", None)), shape_text(None)
    ('[1, n, ?]', 'of any shape')
    """
    return "of any shape" if shape is None else f"[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"


class ProfileError(MultiedgeError):
    """A profile that is damaged, or does not fit the model or the fleet."""


class PlanError(MultiedgeError):
    """A plan that is damaged or cannot run.

    Attributes:
        violations: One text for each error.
    """

    def __init__(self, message: str, violations: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)


class ChangedError(PlanError):
    """Files of a plan that are not those that it was made with."""


class InfeasibleError(PlanError):
    """No plan satisfies the constraints; the message names the constraint and the smallest change that helps."""


class PipelineError(MultiedgeError):
    """A pipeline that could not start or continue."""


class StageError(PipelineError):
    """One stage failed on one item.

    Attributes:
        stage: Number of the stage; None if unknown.
        device: Name of the device; None if unknown.
        item: Number of the item; None if unknown.
    """

    def __init__(self, message: str, *, stage: int | None = None, device: str | None = None, item: int | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.device = device
        self.item = item


class NetworkError(MultiedgeError):
    """A hub or a node that cannot be reached, or that refused a request.

    Attributes:
        status: The status of HTTP with which a hub refused; None if there was no answer, or one that is not understood.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class MissingDependencyError(MultiedgeError):
    """An optional package is not installed.

    Attributes:
        package: Name of the package.
        extra: The extra of this distribution that installs it.

    >>> str(MissingDependencyError("ray", extra="ray"))
    "package 'ray' is not installed; run: pip install 'multi-edge-bench[ray]'"
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"package '{package}' is not installed; run: pip install 'multi-edge-bench[{extra}]'")
        self.package = package
        self.extra = extra


def no_such(path: str | os.PathLike[str], what: str = "file") -> str:
    """The line for a file that is not there: where it was looked for, and the nearest name that is there."""
    from difflib import get_close_matches

    try:
        names = os.listdir(Path(path).parent)
    except OSError:
        names = []
    near = get_close_matches(Path(path).name, names, n=1)
    return f"{path}: no such {what} (looked from {Path.cwd()})" + (f"; did you mean '{near[0]}'?" if near else "")


def require_least(name: str, value: float, least: float) -> None:
    """ConfigError unless `value`, which the user gave as `name`, is `least` or more."""
    if not value >= least:
        raise ConfigError(f"{name}: expected {least} or more, got {value}")


MOST_KNOWN = 40
"""Known words that are listed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The ending `; did you mean 'x'?` for the nearest known word, or the list of known words.

    >>> did_you_mean("memry", ["memory", "name"])
    "; did you mean 'memory'?"
    >>> did_you_mean("zzz", ["memory", "name"])
    "; known: memory, name"
    """
    from difflib import get_close_matches

    known = sorted(known)
    near = get_close_matches(word, known, n=1)
    more = f" and {len(known) - MOST_KNOWN} more" if len(known) > MOST_KNOWN else ""
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known[:MOST_KNOWN]) or 'none'}{more}"


def lower_first(text: str) -> str:
    """`text` as it stands inside a sentence: the operating system and the standard library begin theirs with a capital."""
    return text[:1].lower() + text[1:]


def one_line(error: BaseException) -> str:
    """The text of an error on one line: runtimes write several."""
    return " ".join(str(error).split())


def printable(text: str) -> str:
    """`text` without control characters, with one space for each line break or tab: names in files may hold commands to a
    terminal.

    >>> printable("a\x1b[31mb\nc")
    'a[31mb c'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text if char.isprintable() or char.isspace())


def require_range(name: str, value: int, least: int, most: int) -> None:
    """ConfigError unless `value`, which the user gave as `name`, is from `least` to `most`."""
    if not least <= value <= most:
        raise ConfigError(f"{name}: expected {least} to {most}, got {describe(value)}")


def require_port(name: str, port: int, least: int = 0) -> None:
    """ConfigError unless `port` is the number of a TCP port: a library may take larger ones modulo 65536."""
    require_range(name, port, least, MAX_PORT)


def describe(value: object) -> str:
    """How an error shows a value that it did not expect: on one line, short, and in no programming language's words.

    >>> describe(None), describe(True), describe("lots"), describe([1, 2]), describe({"a": 1})
    ('nothing', 'true', "'lots'", 'a list of 2', 'a mapping of a')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if abs(value) < 2**63 else "a whole number of more than 64 bits"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, str):
        return repr(value if len(value) <= _LONG else f"{value[:_LONG]}...")
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, Mapping):
        keys = [key if isinstance(key, str) and key.isidentifier() else describe(key) for key in itertools.islice(value, 5)]
        return f"a mapping of {', '.join(keys)}{', ...' if len(value) > 5 else ''}" if keys else "an empty mapping"
    if isinstance(value, datetime.date):
        return f"the date {value}"
    return "binary data" if isinstance(value, bytes) else f"a {type(value).__name__}"
