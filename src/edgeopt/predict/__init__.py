"""A file of rows answered by a finished model: what may be asked, its rows, what is written of them."""
