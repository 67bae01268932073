"""Stage `index`: train, add, merge and evaluate a kNN index."""
