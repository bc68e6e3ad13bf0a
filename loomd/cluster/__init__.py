"""Kind Cluster: who is alive, how good they are, and how tasks reach them."""
