"""How a command runs: the work queue, progress, compiled loops, shared arguments."""
