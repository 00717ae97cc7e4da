"""A deployment as a front end serves it: its rows with their plans, and the types and shapes of the model's tensors.

It is kept in a file, so that a device that is started again without its hub serves what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from multiedge.errors import MultiedgeError, PlanError
from multiedge.files import write_bytes
from multiedge.graph import GIVEN_SEQUENCE_TENSOR, Tensor
from multiedge.network.client import HubClient
from multiedge.network.encoding import decode, encode
from multiedge.network.records import Deployment, PlanRecord
from multiedge.onnx_io.manifest import parse_manifest
from multiedge.onnx_io.reader import declared_ends
from multiedge.plan import Manifest
from multiedge.serving.signature import Signature
from multiedge.states import SEQUENCE

OPEN = -1
"""A size that the model leaves open, as the protocol writes it."""
_OWN = {SEQUENCE: GIVEN_SEQUENCE_TENSOR}
"""Inputs of stages that no model file declares."""
MOST_PART_BYTES = 1 << 30
"""The largest file of a part, without the weights beside it, that is read for its types and shapes."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, type and shape of a tensor; None is not known, OPEN a size that is not fixed."""

    name: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, tensor: Tensor) -> TensorSpec:
        shape = tensor.shape
        sizes = None if shape is None else tuple(size if isinstance(size, int) else OPEN for size in shape)
        return cls(tensor.name, tensor.dtype, sizes)

    @property
    def tensor(self) -> Tensor:
        """The tensor as a signature has it."""
        sizes = None if self.shape is None else tuple(None if size == OPEN else size for size in self.shape)
        return Tensor(self.name, self.dtype, sizes)


@dataclass(frozen=True)
class Served:
    """A deployment with what is needed to serve it.

    Attributes:
        deployment: As the hub has it.
        plans: The plans of its rows by digest.
        inputs: Of the whole model.
        outputs: Of the whole model.
    """

    deployment: Deployment
    plans: Mapping[str, PlanRecord]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def name(self) -> str:
        """That of the deployment."""
        return self.deployment.name

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """What tells it from an earlier deployment of its name."""
        return key_of(self.deployment)

    @property
    def sequences(self) -> dict[str, int]:
        """How many sequences each row keeps, by its name; 1 for a model without states."""
        manifests = {row.name: manifest_of(self.plans[row.plan]) for row in self.deployment.rows}
        return {
            name: min((part.sequences for part in manifest.parts if part.states), default=1)
            for name, manifest in manifests.items()
        }

    @property
    def signature(self) -> Signature:
        """Of the whole model."""
        given, made = ({each.name: each.tensor for each in specs} for specs in (self.inputs, self.outputs))
        return Signature(given, made)


@dataclass(frozen=True)
class ServedFile:
    """All deployments of a front end, in a file."""

    served: tuple[Served, ...] = ()


def key_of(deployment: Deployment) -> tuple[tuple[str, str], ...]:
    """Names and plans of its rows, and the files of its tokenizer: with others it is another deployment."""
    return (*((row.name, row.plan) for row in deployment.rows), *sorted(deployment.text.items()))


def fetch_served(client: HubClient, deployment: Deployment) -> Served:
    """What is needed to serve a deployment, from its hub.

    Raises:
        NetworkError: If the hub cannot be reached.
        PlanError: If a plan lacks a tensor of the model.
        ModelError: If a part cannot be read.
    """
    plans = {digest: client.plan(digest) for digest in dict.fromkeys(row.plan for row in deployment.rows)}
    first = plans[deployment.plan]
    manifest = manifest_of(first)
    inputs, outputs = _tensors(client, first, manifest)
    return Served(deployment, plans, inputs, outputs)


def manifest_of(record: PlanRecord) -> Manifest:
    """A plan without its files; its digest stands for the folder."""
    return replace(parse_manifest(record.manifest, f"plan {record.digest[:12]}"), directory=record.digest)


def _tensors(
    client: HubClient, record: PlanRecord, manifest: Manifest
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The inputs and outputs of the whole model, as the parts declare them that read and make them."""
    readers = {name: part.stage for part in reversed(manifest.parts) for name in part.inputs}
    makers = {name: part.stage for part in manifest.parts for name in part.outputs}
    places = [(name, readers.get(name)) for name in manifest.inputs] + [(name, makers.get(name)) for name in manifest.outputs]
    declared = {
        stage: _declared(client, record, manifest, stage) for stage in {stage for _, stage in places if stage is not None}
    }
    specs = [
        TensorSpec.of(declared[stage].get(name, _OWN.get(name, Tensor(name)))) if stage is not None else TensorSpec(name)
        for name, stage in places
    ]
    return tuple(specs[: len(manifest.inputs)]), tuple(specs[len(manifest.inputs) :])


def _declared(client: HubClient, record: PlanRecord, manifest: Manifest, stage: int) -> Mapping[str, Tensor]:
    """The tensors of a stage by name, from its file without weights; none for a part that is no ONNX file."""
    wanted = manifest.parts[stage].file
    file = next((file for part in record.parts if part.stage == stage for file in part.files if file.name == wanted), None)
    if file is None:
        raise PlanError(f"plan {record.digest[:12]}: stage {stage} has no file '{wanted}'")
    if not wanted.endswith(".onnx") or file.size > MOST_PART_BYTES:
        return {}
    data = b"".join(client.read(file.sha256, 0, file.size))
    return declared_ends(data, f"plan {record.digest[:12]}: '{wanted}'")


def save(path: Path, served: Iterable[Served]) -> None:
    """Keeps the deployments in a file."""
    write_bytes(path, encode(ServedFile(tuple(served))))


def load(path: Path) -> tuple[Served, ...]:
    """The deployments in the file; none if there is none, or it is damaged: then the hub tells."""
    try:
        return decode(ServedFile, path.read_bytes(), str(path)).served
    except (OSError, MultiedgeError):
        return ()
