"""An explicit-state model of how leaders, executors, servers and the broker share tasks and slots (`world.py`)."""
