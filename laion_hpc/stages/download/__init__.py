"""Stage `download`: URLs to images in tar shards."""
