"""Requests and replies of the protocol over gRPC: messages to values and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from multiedge.serving.inference.contract import ModelConfig, Parameter, ServedModel
from multiedge.serving.inference.descriptions import KIND_MODEL, backend_of, data_type_of, durations_of, sizes_of
from multiedge.serving.inference.repository import IndexEntry
from multiedge.serving.inference.shared_memory import Region
from multiedge.serving.inference.statistics import Statistics
from multiedge.serving.inference.wire import (
    ELSEWHERE,
    REGION,
    GivenTensor,
    MadeOutput,
    Parameters,
    WantedOutput,
    WireReply,
    WireRequest,
)
from multiedge.transports.open_inference import CHOICE, datatype_of, encode_raw, messages, unpack


def decode_request(message: Any) -> WireRequest:
    """A ModelInferRequest. Raises PipelineError for contents that do not fit their description."""
    parameters = [decode_parameters(tensor.parameters) for tensor in message.inputs]
    here = [tensor for tensor, each in zip(message.inputs, parameters, strict=True) if ELSEWHERE.isdisjoint(each)]
    arrays = unpack(here, message.raw_input_contents)
    inputs = tuple(
        GivenTensor(tensor.name, tensor.datatype, tuple(tensor.shape), arrays.get(tensor.name), each)
        for tensor, each in zip(message.inputs, parameters, strict=True)
    )
    outputs = tuple(WantedOutput(output.name, decode_parameters(output.parameters)) for output in message.outputs)
    return WireRequest(
        message.model_name, message.model_version, message.id, inputs, outputs, decode_parameters(message.parameters)
    )


def encode_reply(reply: WireReply) -> Any:
    """A ModelInferResponse. Raises PipelineError for an output of a type that the protocol does not have."""
    message = messages()["ModelInferResponse"](model_name=reply.model, model_version=reply.version, id=reply.id)
    encode_parameters(message.parameters, reply.parameters)
    # Clients count contents and outputs alike: those without contents, which only clients of this project ask for, come last.
    for output in sorted(reply.outputs, key=_has_no_contents):
        _encode_output(message, output)
    return message


def _has_no_contents(output: MadeOutput) -> bool:
    return not output.is_here and REGION not in output.parameters


def _encode_output(message: Any, output: MadeOutput) -> None:
    if output.is_here:
        datatype, raw = encode_raw(output.name, output.array)
        message.raw_output_contents.append(raw)
    else:
        datatype = datatype_of(output.array.dtype.name)
        if REGION in output.parameters:  # Triton's clients expect empty contents for an output in shared memory
            message.raw_output_contents.append(b"")
    described = message.outputs.add(name=output.name, datatype=datatype, shape=output.array.shape)
    encode_parameters(described.parameters, output.parameters)


def decode_parameters(entries: Iterable[Any]) -> dict[str, Parameter]:
    """The values of a map of parameters; one without a value is left out."""
    return {entry.key: getattr(entry.value, kind) for entry in entries if (kind := entry.value.WhichOneof(CHOICE))}


def encode_parameters(entries: Any, parameters: Parameters) -> None:
    """Appends parameters to a map."""
    for key, value in parameters.items():
        entry = entries.add(key=key)
        if isinstance(value, bool):
            entry.value.bool_param = value
        elif isinstance(value, int):
            entry.value.int64_param = value
        elif isinstance(value, float):
            entry.value.double_param = value
        else:
            entry.value.string_param = value


def encode_metadata(model: ServedModel) -> Any:
    """A ModelMetadataResponse."""
    message = messages()["ModelMetadataResponse"](name=model.name, platform=model.platform, versions=model.versions)
    for described, tensors in ((message.inputs, model.signature.inputs), (message.outputs, model.signature.outputs)):
        for name, tensor in tensors.items():
            described.add(name=name, datatype=datatype_of(tensor.dtype), shape=sizes_of(tensor))
    return message


def encode_config(config: ModelConfig) -> Any:
    """A ModelConfigResponse."""
    message = messages()["ModelConfigResponse"]()
    described = message.config
    described.name, described.platform, described.backend = config.name, config.platform, backend_of(config.platform)
    described.model_transaction_policy.decoupled = config.streams
    described.instance_group.add(count=config.instances, kind=KIND_MODEL)
    for tensors, entries in ((config.signature.inputs, described.input), (config.signature.outputs, described.output)):
        for name, tensor in tensors.items():
            entries.add(name=name, data_type=data_type_of(tensor), dims=sizes_of(tensor))
    for key, text in config.parameters.items():
        described.parameters.add(key=key).value.string_value = text
    return message


def encode_index(entries: Iterable[IndexEntry]) -> Any:
    """A RepositoryIndexResponse."""
    message = messages()["RepositoryIndexResponse"]()
    for entry in entries:
        message.models.add(name=entry.name, version=entry.version, state=entry.state.value, reason=entry.reason)
    return message


def encode_statistics(all_models: Iterable[tuple[ServedModel, Statistics]]) -> Any:
    """A ModelStatisticsResponse."""
    message = messages()["ModelStatisticsResponse"]()
    for model, statistics in all_models:
        count = statistics.success.count
        described = message.model_stats.add(
            name=model.name,
            version=next(iter(model.versions), ""),
            last_inference=statistics.last_inference_ms,
            inference_count=count,
            execution_count=count,
        )
        for name, duration in durations_of(statistics).items():
            entry = getattr(described.inference_stats, name)
            entry.count, entry.ns = duration.count, duration.ns
    return message


def encode_regions(regions: Iterable[Region]) -> Any:
    """A SystemSharedMemoryStatusResponse."""
    message = messages()["SystemSharedMemoryStatusResponse"]()
    for region in regions:
        value = message.regions.add(key=region.name).value
        value.name, value.key, value.offset, value.byte_size = region.name, region.key, region.offset, region.byte_size
    return message
