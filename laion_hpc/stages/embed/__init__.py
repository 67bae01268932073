"""Stage `embed`: CLIP embeddings of images and texts."""
