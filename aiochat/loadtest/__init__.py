"""`aiochat loadtest`: an honest meter for a server of its own, or for any that speaks the tutorial's text protocol."""
