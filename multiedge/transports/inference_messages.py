"""The messages of the Open Inference Protocol v2 over gRPC, as a table of field numbers.

The numbers are those of kserve's open-inference-protocol specification and of the extensions that Triton's clients use
(streams, configuration, statistics, repository, system shared memory). A type in capitals is a message; `*` marks repeated
fields, `?` the choices of a message of which one is set. A map is sent as a list of entries with `key` and `value`.
"""

from __future__ import annotations

PACKAGE = "inference"

_TENSOR = {
    "name": (1, "string"),
    "datatype": (2, "string"),
    "shape": (3, "int64*"),
    "parameters": (4, "Parameter*"),
    "contents": (5, "InferTensorContents"),
}
_CHOICES = {"bool_param": (1, "bool?"), "int64_param": (2, "int64?"), "string_param": (3, "string?")}
_VERSIONED = {"name": (1, "string"), "version": (2, "string")}
_LOADING = {
    "repository_name": (1, "string"),
    "model_name": (2, "string"),
    "parameters": (3, "RepositoryParameterEntry*"),
}
_REGION = {"name": (1, "string"), "key": (2, "string"), "offset": (3, "uint64"), "byte_size": (4, "uint64")}
_DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")

_TENSORS: dict[str, dict[str, tuple[int, str]]] = {
    "InferTensorContents": {
        "bool_contents": (1, "bool*"),
        "int_contents": (2, "int32*"),
        "int64_contents": (3, "int64*"),
        "uint_contents": (4, "uint32*"),
        "uint64_contents": (5, "uint64*"),
        "fp32_contents": (6, "float*"),
        "fp64_contents": (7, "double*"),
        "bytes_contents": (8, "bytes*"),
    },
    "InferParameter": {**_CHOICES, "double_param": (4, "double?"), "uint64_param": (5, "uint64?")},
    "Parameter": {"key": (1, "string"), "value": (2, "InferParameter")},
    "InferInputTensor": _TENSOR,
    "InferOutputTensor": _TENSOR,
    "InferRequestedOutputTensor": {"name": (1, "string"), "parameters": (2, "Parameter*")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "Parameter*"),
        "inputs": (5, "InferInputTensor*"),
        "outputs": (6, "InferRequestedOutputTensor*"),
        "raw_input_contents": (7, "bytes*"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "Parameter*"),
        "outputs": (5, "InferOutputTensor*"),
        "raw_output_contents": (6, "bytes*"),
    },
    "ModelStreamInferResponse": {"error_message": (1, "string"), "infer_response": (2, "ModelInferResponse")},
}
_SERVER: dict[str, dict[str, tuple[int, str]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": (1, "string"), "version": (2, "string"), "extensions": (3, "string*")},
}
_MODELS: dict[str, dict[str, tuple[int, str]]] = {
    "ModelReadyRequest": _VERSIONED,
    "ModelReadyResponse": {"ready": (1, "bool")},
    "TensorMetadata": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64*")},
    "ModelMetadataRequest": _VERSIONED,
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "string*"),
        "platform": (3, "string"),
        "inputs": (4, "TensorMetadata*"),
        "outputs": (5, "TensorMetadata*"),
    },
    "ModelConfigRequest": _VERSIONED,
    "ModelConfigResponse": {"config": (1, "ModelConfig")},
    "ModelConfig": {
        "name": (1, "string"),
        "platform": (2, "string"),
        "max_batch_size": (4, "int32"),
        "input": (5, "ConfigInput*"),
        "output": (6, "ConfigOutput*"),
        "instance_group": (7, "InstanceGroup*"),
        "parameters": (14, "ConfigParameterEntry*"),
        "backend": (17, "string"),
        "model_transaction_policy": (19, "TransactionPolicy"),
    },
    # Data types and kinds are enumerations, which are sent as whole numbers.
    "ConfigInput": {"name": (1, "string"), "data_type": (2, "int32"), "dims": (4, "int64*")},
    "ConfigOutput": {"name": (1, "string"), "data_type": (2, "int32"), "dims": (3, "int64*")},
    "InstanceGroup": {"count": (2, "int32"), "kind": (4, "int32")},
    "ConfigParameterEntry": {"key": (1, "string"), "value": (2, "ConfigParameter")},
    "ConfigParameter": {"string_value": (1, "string")},
    "TransactionPolicy": {"decoupled": (1, "bool")},
    "ModelStatisticsRequest": _VERSIONED,
    "ModelStatisticsResponse": {"model_stats": (1, "ModelStatistics*")},
    "ModelStatistics": {
        "name": (1, "string"),
        "version": (2, "string"),
        "last_inference": (3, "uint64"),
        "inference_count": (4, "uint64"),
        "execution_count": (5, "uint64"),
        "inference_stats": (6, "InferStatistics"),
    },
    "InferStatistics": {name: (number, "StatisticDuration") for number, name in enumerate(_DURATIONS, start=1)},
    "StatisticDuration": {"count": (1, "uint64"), "ns": (2, "uint64")},
}
_REPOSITORY: dict[str, dict[str, tuple[int, str]]] = {
    "RepositoryIndexRequest": {"repository_name": (1, "string"), "ready": (2, "bool")},
    "RepositoryIndexResponse": {"models": (1, "ModelIndex*")},
    "ModelIndex": {**_VERSIONED, "state": (3, "string"), "reason": (4, "string")},
    "RepositoryParameter": {**_CHOICES, "bytes_param": (4, "bytes?")},
    "RepositoryParameterEntry": {"key": (1, "string"), "value": (2, "RepositoryParameter")},
    "RepositoryModelLoadRequest": _LOADING,
    "RepositoryModelLoadResponse": {},
    "RepositoryModelUnloadRequest": _LOADING,
    "RepositoryModelUnloadResponse": {},
}
_MEMORY: dict[str, dict[str, tuple[int, str]]] = {
    "SystemSharedMemoryStatusRequest": {"name": (1, "string")},
    "SystemSharedMemoryStatusResponse": {"regions": (1, "RegionEntry*")},
    "RegionEntry": {"key": (1, "string"), "value": (2, "RegionStatus")},
    "RegionStatus": _REGION,
    "SystemSharedMemoryRegisterRequest": _REGION,
    "SystemSharedMemoryRegisterResponse": {},
    "SystemSharedMemoryUnregisterRequest": {"name": (1, "string")},
    "SystemSharedMemoryUnregisterResponse": {},
}
MESSAGES = {**_TENSORS, **_SERVER, **_MODELS, **_REPOSITORY, **_MEMORY}
"""Message -> {field: (number, type)}."""
