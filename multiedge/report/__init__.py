"""Figures -> table, page, trace, annotated model, and the results file that they are rebuilt from."""
