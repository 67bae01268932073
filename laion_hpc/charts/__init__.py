"""Charts, and how they are drawn as HTML or SVG."""
