"""Measurement of hardware: the memory of a process, the power and energy of a device."""
