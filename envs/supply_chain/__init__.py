"""Supply chains: agents who order for the nodes of one network."""
