"""What every service stands on: serving, stores, leadership, loops, clock, settings, logs."""
