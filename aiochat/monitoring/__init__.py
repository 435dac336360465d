"""What an operator sees: metrics, log, lag; and what must not die unseen."""
