"""The training of the demo's models: towers, heads, and the page that describes them."""
