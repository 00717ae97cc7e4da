"""What people and programs see of a fleet while it works: metrics, a live page, traces."""
