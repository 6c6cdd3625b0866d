"""How to say it: the bus, calls with retries, and the typed client of every service."""
