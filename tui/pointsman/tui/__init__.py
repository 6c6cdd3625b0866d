"""The cockpit: the source root of the terminal screens, on the client."""
