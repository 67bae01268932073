"""Stage `filter`: keep the pairs that CLIP finds alike."""
