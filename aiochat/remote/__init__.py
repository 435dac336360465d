"""`aiochat rooms`, `clients`, `say`, `kick`, `ban` and `unban`: what the HTTP API of a running server does, by hand."""
