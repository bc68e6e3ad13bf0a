"""What happened: typed facts, the bus that spreads them, the journal that keeps them."""
