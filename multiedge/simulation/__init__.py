"""A plan on a fleet, without running it: discrete events in simulated time."""
