"""What hub, nodes and callers of a fleet share: records, identities and connections. It needs only the standard library."""
