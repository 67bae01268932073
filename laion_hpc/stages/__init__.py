"""The stages of the pipeline: each runs alone, and none imports another."""
