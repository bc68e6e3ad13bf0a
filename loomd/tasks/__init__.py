"""`kind: Task`: work that is declared once and sent as often as somebody asks."""
