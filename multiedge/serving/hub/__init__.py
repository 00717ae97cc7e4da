"""The hub of a fleet: who is there, the pool of models and parts, deployments and results."""
