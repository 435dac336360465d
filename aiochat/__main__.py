"""`python -m aiochat` is the `aiochat` command."""

import sys

from aiochat.cli import main

sys.exit(main())
