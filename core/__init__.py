"""A small host for the job files of KubeEdge Ianvs: `ianvs -f benchmarkingjob.yaml`.

Rooms and module names are Ianvs's own, so that the paradigm and users' code fit both. docs/ianvs.md says where the
two differ.
"""
