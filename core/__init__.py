"""A small host for the job files of KubeEdge Ianvs: `ianvs -f benchmarkingjob.yaml`.

Packages and modules have the names of Ianvs, so that the paradigm and users' code work with both. docs/ianvs.md states their
differences.
"""
