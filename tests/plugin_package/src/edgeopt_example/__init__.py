"""A plugin of each kind, as another package would have them."""
