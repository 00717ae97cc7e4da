"""A benchmark of strategies for papers: models x fleets x strategies x seeds, on a suite that is fixed by its version."""
