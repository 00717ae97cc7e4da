"""The host that runs KubeEdge Ianvs's jobs, and the paradigm as an addition to a checkout of Ianvs."""
