"""Names that the resource, its pods and the API server share."""

from __future__ import annotations

GROUP = "sedna.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "HeteroInferenceService"
PLURAL = "heteroinferenceservices"

PREFIX = "heteroinferenceservice.sedna.io/"
"""How the labels of workers begin."""
OWNER_LABEL = f"{PREFIX}name"
KIND_LABEL = f"{PREFIX}worker-type"
TARGET_LABEL = f"{PREFIX}hardware"
KEY_LABEL = f"{PREFIX}key"
REPLICA_LABEL = f"{PREFIX}replica"
ATTEMPT_LABEL = f"{PREFIX}attempt"

NAME_VARIABLE = "MULTIEDGE_WORKER_NAME"
NAMESPACE_VARIABLE = "MULTIEDGE_WORKER_NAMESPACE"
OWNER_VARIABLE = "MULTIEDGE_OWNER_NAME"
OWNER_KIND_VARIABLE = "MULTIEDGE_OWNER_KIND"
TOKEN_VARIABLE = "MULTIEDGE_WORKER_TOKEN"
"""Environment of a worker that reports: what its messages state, and what proves that they are its own."""

MODELS = "/models"
"""Where a worker sees the claim with the model."""

Key = tuple[str, str]
"""Namespace and name of a resource."""


def info_path(worker: str) -> str:
    """The path to which a worker posts its messages."""
    return f"/sedna/workers/{worker}/info"
