"""`aiochat serve --workers N`: a parent that serves nobody, and N servers on its sockets, one chat by way of Redis."""
