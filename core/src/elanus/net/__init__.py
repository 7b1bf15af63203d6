"""Input and output of core: the listening socket, connections, and the loops around them."""
