"""The table of messages against those of Triton's client: same names, numbers and types, so that both read each other."""

from __future__ import annotations

import pytest

pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")

from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc import model_config_pb2, service_pb2

from multiedge.transports.inference_messages import MESSAGES
from multiedge.transports.open_inference import messages

ELSEWHERE = {
    "Parameter": "ModelInferRequest.ParametersEntry",
    "InferInputTensor": "ModelInferRequest.InferInputTensor",
    "InferRequestedOutputTensor": "ModelInferRequest.InferRequestedOutputTensor",
    "InferOutputTensor": "ModelInferResponse.InferOutputTensor",
    "TensorMetadata": "ModelMetadataResponse.TensorMetadata",
    "ModelIndex": "RepositoryIndexResponse.ModelIndex",
    "RepositoryParameter": "ModelRepositoryParameter",
    "RepositoryParameterEntry": "RepositoryModelLoadRequest.ParametersEntry",
    "RegionEntry": "SystemSharedMemoryStatusResponse.RegionsEntry",
    "RegionStatus": "SystemSharedMemoryStatusResponse.RegionStatus",
    "ConfigInput": "ModelInput",
    "ConfigOutput": "ModelOutput",
    "InstanceGroup": "ModelInstanceGroup",
    "ConfigParameterEntry": "ModelConfig.ParametersEntry",
    "ConfigParameter": "ModelParameter",
    "TransactionPolicy": "ModelTransactionPolicy",
}
"""Messages of the table that Triton's client has inside others, or under other names."""


def of_triton(name: str):
    """The descriptor of Triton's client for a message of the table."""
    first, *inner = ELSEWHERE.get(name, name).split(".")
    module = service_pb2 if hasattr(service_pb2, first) else model_config_pb2
    descriptor = getattr(module, first).DESCRIPTOR
    for each in inner:
        descriptor = descriptor.nested_types_by_name[each]
    return descriptor


def kind_of(field: FieldDescriptor) -> tuple[str, bool, str]:
    """How a field is sent: its type (whole numbers for enumerations), whether it is repeated, and the choice that it is of."""
    sent = FieldDescriptor.TYPE_INT32 if field.type == FieldDescriptor.TYPE_ENUM else field.type
    return sent, field.is_repeated, field.containing_oneof.name if field.containing_oneof else ""


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_the_numbers_and_types_of_tritons(name):
    theirs = {field.name: (field.number, kind_of(field)) for field in of_triton(name).fields}
    own = {field.name: (field.number, kind_of(field)) for field in messages()[name].DESCRIPTOR.fields}
    assert own == {field: theirs[field] for field in own}
