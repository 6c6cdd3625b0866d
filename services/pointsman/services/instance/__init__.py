"""The instance service: what talks to one backend; executes attempts, probes health."""
