"""The agent of a device: it joins a fleet, keeps what its stages need, and runs workers for callers elsewhere."""
