"""Charts: what is drawn, and drawing it as HTML or SVG."""
