"""The whole arrow in one readable function."""
