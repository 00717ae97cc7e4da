"""Everything that clients of the Open Inference Protocol can ask of a server, and whether this one answers it.

Both front ends are built from this table, and so is docs/protocol.md; a test asks all of it with Triton's clients.
"""

from __future__ import annotations

from dataclasses import dataclass

MODEL = "/v2/models/{model}"
VERSION = f"{MODEL}/versions/{{version}}"
GPU, TRACES, LOGS, TEXT = (
    "CUDA shared memory is not supported; use system shared memory",
    "traces are not set over the protocol",
    "the log is not set over the protocol",
    "generation from text is not supported; use infer with tensors",
)


@dataclass(frozen=True)
class Operation:
    """One thing to ask.

    Attributes:
        name: Of the method of gRPC; also names what answers it.
        routes: 'METHOD /path' of HTTP.
        method: Of Triton's Python clients; '' if they have none.
        refusal: Why it is answered with UNIMPLEMENTED (HTTP: 501); '' if it is answered.
        has_rpc: Whether gRPC has it.
    """

    name: str
    routes: tuple[str, ...]
    method: str
    refusal: str = ""
    has_rpc: bool = True


def _of_model(verb: str, task: str, *more: str) -> tuple[str, ...]:
    """The routes of a task of a model, with and without a version."""
    return tuple(f"{verb} {place}{task}" for place in (MODEL, VERSION)) + more


OPERATIONS = (
    Operation("ServerLive", ("GET /v2/health/live",), "is_server_live"),
    Operation("ServerReady", ("GET /v2/health/ready",), "is_server_ready"),
    Operation("ServerMetadata", ("GET /v2",), "get_server_metadata"),
    Operation("ModelReady", _of_model("GET", "/ready"), "is_model_ready"),
    Operation("ModelMetadata", _of_model("GET", ""), "get_model_metadata"),
    Operation("ModelConfig", _of_model("GET", "/config"), "get_model_config"),
    Operation("ModelStatistics", ("GET /v2/models/stats", *_of_model("GET", "/stats")), "get_inference_statistics"),
    Operation("ModelInfer", _of_model("POST", "/infer"), "infer"),
    Operation("ModelStreamInfer", (), "async_stream_infer"),
    Operation("RepositoryIndex", ("POST /v2/repository/index",), "get_model_repository_index"),
    Operation("RepositoryModelLoad", ("POST /v2/repository/models/{model}/load",), "load_model"),
    Operation("RepositoryModelUnload", ("POST /v2/repository/models/{model}/unload",), "unload_model"),
    Operation(
        "SystemSharedMemoryStatus",
        ("GET /v2/systemsharedmemory/status", "GET /v2/systemsharedmemory/region/{region}/status"),
        "get_system_shared_memory_status",
    ),
    Operation(
        "SystemSharedMemoryRegister",
        ("POST /v2/systemsharedmemory/region/{region}/register",),
        "register_system_shared_memory",
    ),
    Operation(
        "SystemSharedMemoryUnregister",
        ("POST /v2/systemsharedmemory/unregister", "POST /v2/systemsharedmemory/region/{region}/unregister"),
        "unregister_system_shared_memory",
    ),
    Operation(
        "CudaSharedMemoryStatus",
        ("GET /v2/cudasharedmemory/status", "GET /v2/cudasharedmemory/region/{region}/status"),
        "get_cuda_shared_memory_status",
        GPU,
    ),
    Operation(
        "CudaSharedMemoryRegister",
        ("POST /v2/cudasharedmemory/region/{region}/register",),
        "register_cuda_shared_memory",
        GPU,
    ),
    Operation(
        "CudaSharedMemoryUnregister",
        ("POST /v2/cudasharedmemory/unregister", "POST /v2/cudasharedmemory/region/{region}/unregister"),
        "unregister_cuda_shared_memory",
        GPU,
    ),
    Operation(
        "TraceSetting",
        ("POST /v2/trace/setting", "POST /v2/models/{model}/trace/setting"),
        "update_trace_settings",
        TRACES,
    ),
    Operation(
        "TraceSetting",
        ("GET /v2/trace/setting", "GET /v2/models/{model}/trace/setting"),
        "get_trace_settings",
        TRACES,
    ),
    Operation("LogSettings", ("POST /v2/logging",), "update_log_settings", LOGS),
    Operation("LogSettings", ("GET /v2/logging",), "get_log_settings", LOGS),
    Operation("Generate", _of_model("POST", "/generate"), "", TEXT, has_rpc=False),
    Operation("GenerateStream", _of_model("POST", "/generate_stream"), "", TEXT, has_rpc=False),
    Operation(
        "InferStream",
        _of_model("POST", "/infer_stream"),
        "",
        "streams of replies are sent over gRPC; use ModelStreamInfer",
        has_rpc=False,
    ),
)
