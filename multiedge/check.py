"""Whole model against parts, on real inputs."""
