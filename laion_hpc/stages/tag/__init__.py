"""Stage `tag`: scores per sample from heads."""
