"""What touches hardware to measure: memory of a process, power and energy of a device."""
