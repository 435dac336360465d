"""What one client may use, lest it hurts the others: budgets, shares, strikes, bans."""
