"""What a transform is: its contract, what it is given, and the list of them."""
