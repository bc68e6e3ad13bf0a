"""How entities and relations are found in passages: one type a module."""
