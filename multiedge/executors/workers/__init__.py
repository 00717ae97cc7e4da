"""Processes that hold stages: supervision, handles, messages, emulation."""
