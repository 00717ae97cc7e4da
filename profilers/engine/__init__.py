"""What profilers share."""
