"""Stages and plans behind servers."""
