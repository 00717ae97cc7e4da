"""What several commands take: each option is declared and read in one place, and means the same everywhere."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiedge.errors import ConfigError, describe, require_least
from multiedge.fleet import CPU, REFERENCE_BACKEND

if TYPE_CHECKING:
    from multiedge.graph import Graph
    from multiedge.network.client import HubClient
    from multiedge.profile import Profile

SHAPE = "INPUT=1,3,224,224"
MODEL = "ONNX file, or workflow.yaml (docs/workflows.md)"
WORKFLOW_SUFFIXES = (".yaml", ".yml")
OPTION = "KEY=VALUE"
Place = argparse.ArgumentParser | argparse._ArgumentGroup


def add_model(parser: Place) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL)


def model_file(model: str) -> Path:
    """The ONNX file of a MODEL: the file itself, or what the workflow of a workflow.yaml is composed into.

    WorkflowError, which lists all mistakes, for a workflow that has some.
    """
    path = Path(model)
    if path.suffix not in WORKFLOW_SUFFIXES:
        return path
    from multiedge.workflows import compose

    return compose(path)


def add_shape(parser: Place) -> None:
    parser.add_argument("--shape", action="append", default=[], metavar=SHAPE, help="size of a dynamic input; repeatable")


def add_states(parser: Place) -> None:
    """What a model keeps from step to step, and how long its sequences are: --state and --context."""
    parser.add_argument(
        "--state",
        action="append",
        default=[],
        metavar="INPUT=OUTPUT",
        help="an output that is an input of the next step; repeatable",
    )
    parser.add_argument(
        "--context", type=int, metavar="TOKENS", help="of a model with states: its sizes at so many tokens of a sequence"
    )
    parser.add_argument(
        "--tokens", type=int, metavar="N", help="with --context: how many of them are those of one step (default: 1, the last)"
    )


def add_sequences(parser: Place) -> None:
    parser.add_argument(
        "--sequences",
        type=int,
        metavar="N",
        help="of a model with states: sequences that are kept at the same time (default: 1)",
    )


def read_sequences(args: argparse.Namespace, graph: Graph) -> int:
    """The number of --sequences; ConfigError for a model without states."""
    if args.sequences is None:
        return 1
    require_least("--sequences", args.sequences, 1)
    if not graph.states:
        raise ConfigError(f"--sequences: {graph.name} has no states; leave it out, or name states with --state INPUT=OUTPUT")
    return int(args.sequences)


def read_with_states(args: argparse.Namespace, shapes: Mapping[str, Sequence[int]] | None, batch: int = 1) -> Graph:
    """The model in `args.model` with these shapes, --state, and --context with rows of the batch."""
    from multiedge.onnx_io import read_graph
    from multiedge.onnx_io.reader import declared_graph
    from multiedge.onnx_io.states import parse_pairs, step_shapes

    require_with(args, "tokens", "context")
    model, pairs = model_file(args.model), parse_pairs(args.state)
    if args.context is not None:
        tokens = 1 if args.tokens is None else args.tokens
        shapes = {**step_shapes(declared_graph(model, pairs), args.context, tokens, batch), **(shapes or {})}
    return read_graph(model, shapes, pairs)


def add_sizes(parser: Place) -> None:
    """What decides the sizes of a model: --shape, --measure-shapes, and --context of a model with states."""
    add_shape(parser)
    add_states(parser)
    parser.add_argument(
        "--measure-shapes", action="store_true", help="measure sizes that depend on the data, in one run on random inputs"
    )


def read_sized(args: argparse.Namespace, profile: str | None = None) -> Graph:
    """The model in `args.model` with the sizes that the options give; without --shape those of the `profile`, a file."""
    from multiedge.backends.sizes import measure_sizes
    from multiedge.formats.profile import load_profile
    from multiedge.onnx_io import read_graph

    shapes: Mapping[str, Sequence[int]] | None = parse_shapes(args.shape)
    if profile and not shapes and args.context is None:
        declared = read_graph(model_file(args.model))
        if declared.free_batch or not declared.is_input_known:
            shapes = profiled_shapes(load_profile(profile).graph)
    graph = read_with_states(args, shapes)
    return measure_sizes(graph) if args.measure_shapes else graph


def profiled_shapes(profiled: Graph) -> Mapping[str, Sequence[int]]:
    """Shapes of the profile for the inputs that the model leaves open; a batch that was free for the profile stays free."""
    return {name: shape for name, shape in profiled.input_shapes.items() if name not in profiled.free_batch}


def read_batched(args: argparse.Namespace, batch: int) -> Graph:
    """The model in `args.model` with `batch` samples in each input whose first dimension it leaves open."""
    from multiedge.backends.sizes import measure_sizes
    from multiedge.batching import batch_shapes
    from multiedge.onnx_io import read_graph

    given = parse_shapes(args.shape)
    if args.context is None:
        model = model_file(args.model)
        graph = read_graph(model, batch_shapes(read_graph(model), read_graph(model, given), given, batch))
    else:
        graph = read_with_states(args, given, batch)
    return measure_sizes(graph) if args.measure_shapes else graph


def add_devices(parser: Place, default: str = "") -> None:
    """The option --devices; required unless `default` describes what holds without it."""
    about = f"devices.yaml; default: {default}" if default else "devices.yaml"
    parser.add_argument("--devices", metavar="FILE", required=not default, help=about)


def add_profile(parser: Place) -> None:
    parser.add_argument("--profile", metavar="FILE", help="what nodes cost, from `multiedge profile -o`; default: estimated")


def add_reference(parser: Place) -> None:
    """The option --reference, beside --profile: what times are relative to where none were measured."""
    about = "what speed 1 is without a profile: this machine, measured once, or declared figures (default: calibrated)"
    parser.add_argument("--reference", choices=("calibrated", "declared"), help=about)


def add_trace(parser: Place, about: str) -> None:
    """The option --trace: in every command, what happens to the fleet."""
    parser.add_argument("--trace", metavar="FILE", help=f"{about}, yaml or JSON (docs/simulate.md)")


def add_option(parser: Place, owner: str) -> None:
    parser.add_argument(
        "--option", action="append", default=[], metavar=OPTION, help=f"an option of the {owner}, value as YAML; repeatable"
    )


def add_max_latency(parser: Place) -> None:
    """The option --max-latency, `max_latency_s` of strategies."""
    about = "seconds that one item may take at most; only for strategies with an option max_latency_s, such as throughput"
    parser.add_argument("--max-latency", type=float, metavar="S", help=about)


def add_pins(parser: Place) -> None:
    """The options --first-on and --last-on; `pins` reads them."""
    parser.add_argument("--first-on", metavar="DEVICE", help="the device that takes the inputs: they are sent to no other one")
    parser.add_argument("--last-on", metavar="DEVICE", help="the device that gives the results: they come from no other one")


def pins(args: argparse.Namespace) -> dict[str, str]:
    """The arguments of `plan_model` that these options give."""
    given = {"first_on": args.first_on, "last_on": args.last_on}
    return {name: device for name, device in given.items() if device}


def strategy_flags(args: argparse.Namespace) -> dict[str, Any]:
    """The options of strategies that flags give."""
    return {} if args.max_latency is None else {"max_latency_s": args.max_latency}


def add_backend(parser: Place, of: str, default: str = REFERENCE_BACKEND) -> None:
    parser.add_argument("--backend", metavar="NAME", default=default, help=f"runtime of {of} (default: {default})")


def add_precision(parser: Place, default: str = "the backend's") -> None:
    about = f"what to compute with, such as float16 (default: {default})"
    parser.add_argument("--precision", metavar="TYPE", help=about)


def add_type(parser: Place, about: str) -> None:
    """The option --type, which `multiedge.backends.hardware.require_type` checks."""
    parser.add_argument("--type", metavar="TYPE", help=f"{about}, such as gpu (default: {CPU})")


def add_inputs(parser: Place, about: str) -> None:
    """The options --inputs and --labels; `multiedge.onnx_io.items` reads them."""
    parser.add_argument(
        "--inputs", action="append", default=[], metavar="FILE", help=f".npz files or folders of them, {about}; repeatable"
    )
    parser.add_argument("--labels", metavar="FILE", help="the right class of each input, a line each: accuracy is measured")


def read_labels(args: argparse.Namespace, count: int) -> tuple[int, ...]:
    """The labels of --labels for `count` inputs; none without it."""
    from multiedge.onnx_io.items import read_labels

    return read_labels(Path(args.labels), count) if args.labels else ()


def add_seed(parser: Place, of: str) -> None:
    parser.add_argument("--seed", type=int, metavar="N", help=f"seed of {of} (default: 0)")


def add_hub(parser: Place) -> None:
    """The options --hub and --identity of what talks to a hub; `hub_client` reads them."""
    parser.add_argument("--hub", metavar="HOST:PORT", required=True, help="the hub, as `multiedge hub run` prints it")
    add_identity(parser)


def add_identity(parser: Place) -> None:
    about = "folder with ca.pem, cert.pem and key.pem (default: $MULTIEDGE_IDENTITY; none is possible on this machine alone)"
    parser.add_argument("--identity", metavar="DIR", help=about)


def hub_client(args: argparse.Namespace) -> HubClient:
    """A connection to the hub of `--hub`."""
    from multiedge.network.client import HubClient
    from multiedge.network.identity import find_identity

    return HubClient(args.hub, find_identity(args.identity))


def add_hub_data(parser: Place) -> None:
    """The option --data of the hub; `hub_data` reads it."""
    parser.add_argument("--data", metavar="DIR", help="data folder (default: ~/.local/share/multiedge/hub)")


def hub_data(args: argparse.Namespace) -> Path:
    """The data folder of the hub."""
    from multiedge.files import data_folder

    return Path(args.data) if args.data else data_folder("hub")


def read_size(option: str, text: str, least: int = 1) -> int:
    """Bytes of a size such as '4GiB'; ConfigError that names the option for another text, and for less than `least`."""
    from multiedge.quantity import BYTES, parse

    try:
        nbytes = int(parse(text, BYTES))
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None
    if nbytes < least:
        raise ConfigError(f"{option}: expected a size above 0, got {describe(text)}")
    return nbytes


def add_json(parser: Place, what: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def add_output(parser: Place, metavar: str, what: str, *, required: bool = False) -> None:
    parser.add_argument("-o", "--output", metavar=metavar, required=required, help=what)


def add_renamed(parser: Place, old: str, remedy: str) -> None:
    """An option that is refused with the remedy: it had that name once."""
    parser.add_argument(old, action=_Renamed, nargs="?", default=argparse.SUPPRESS, help=argparse.SUPPRESS, metavar=remedy)


class _Renamed(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None) -> None:
        raise ConfigError(f"{option_string}: {self.metavar}")


def require_with(args: argparse.Namespace, option: str, *others: str) -> None:
    """ConfigError if `option` was given without any of the `others`, since alone it would have no effect."""
    if _is_given(args, option) and not any(_is_given(args, other) for other in others):
        flags = " or ".join(map(_flag, others))
        raise ConfigError(f"{_flag(option)}: has no effect without {flags}; give {flags}, or leave {_flag(option)} out")


def _is_given(args: argparse.Namespace, option: str) -> bool:
    value = vars(args)[option]
    return value is not None and value is not False and value != []


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def parse_shapes(texts: Sequence[str]) -> dict[str, list[int]] | None:
    """Shapes by input from 'input=1,3,224,224' texts; None if there are none."""
    shapes = {}
    for text in texts:
        name, numbers = parse_pair(text, "--shape", SHAPE)
        try:
            shapes[name] = [int(number) for number in numbers.split(",")]
        except ValueError:
            raise ConfigError(f"--shape: expected whole numbers such as {name}=1,3,224,224, got '{text}'") from None
    return shapes or None


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Options from 'key=value' texts, values read as YAML: numbers, true, false and lists are what they look like."""
    options: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ConfigError(f"--option: expected {OPTION} such as replicate=true, got '{text}'")
        options[key.replace("-", "_")] = _parse_value(key, value)
    return options


def with_own(flags: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """Options that have flags, and those of --option; ConfigError for one that both give."""
    own = parse_options(texts)
    for name in own:
        if name in flags:
            raise ConfigError(f"--option {name}: a flag gives it, too; leave one of them out")
    return {**flags, **own}


def _parse_value(key: str, text: str) -> Any:
    from multiedge.formats.documents import parse_yaml

    try:
        return parse_yaml(text, key).value
    except ConfigError:
        raise ConfigError(f"--option {key}: expected a number, a word, true or false, got '{text}'") from None


def parse_pair(text: str, option: str, example: str) -> tuple[str, str]:
    """What stands before and after the last '=' of the text."""
    name, _, value = text.rpartition("=")
    if not name or not value:
        raise ConfigError(f"{option}: expected {example}, got '{text}'")
    return name, value


def warnings_of(profile: Profile) -> list[str]:
    """What a reader should know before trusting measured times; nothing is imported where none were measured."""
    if not profile.settings.get("host"):
        return []
    from profilers.engine.summary import warnings

    return warnings(profile)
