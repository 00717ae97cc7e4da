"""Values as files: devices, plans, profiles and traces, read once and checked whole."""
