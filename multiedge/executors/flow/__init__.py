"""Items on their way through stages: routes, ledger, stage loop, scenarios. No processes."""
