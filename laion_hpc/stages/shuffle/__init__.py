"""Stage `shuffle`: one block of candidates, deduplicated and mixed."""
