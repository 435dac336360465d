"""HTTP: everything up to the upgrade, and what is no WebSocket."""
