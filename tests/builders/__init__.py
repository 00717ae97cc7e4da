"""Builders that all tests share: models, fleets, plans, pipelines, servers, results."""
