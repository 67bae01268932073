"""What the tools of the field make of a finished run."""
