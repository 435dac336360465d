"""What a benchmark prints, and with --docs keeps in docs/scaling.md, in place of what it had printed there before."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"


def written(module: str, lines: Iterable[str], page: Path | None) -> None:
    """Print the lines; and write them where the page shows what this module prints."""
    printed = "".join(f"{line}\n" for line in lines)
    print(printed, end="", flush=True)
    if page is not None:
        page.write_text(replaced(page.read_text("utf-8"), module, printed), "utf-8")


def replaced(text: str, module: str, printed: str) -> str:
    """The page with this as what the module prints. Raises `ValueError` where it shows nothing of that module."""
    command = f"$ .venv/bin/python -m {module}\n"
    found = re.compile(f"(?<=```\n){re.escape(command)}.*?(?=```\n)", re.DOTALL)
    now, count = found.subn(lambda _: command + printed, text)
    if count != 1:
        raise ValueError(f"the page shows {count} times what {module} prints, and not once")
    return now


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """In columns, the first one of words."""
    cells = [head, *rows]
    first, *widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        " ".join([f"{name:{first}}", *(f" {cell:>{width}}" for cell, width in zip(rest, widths, strict=True))]).rstrip()
        for name, *rest in cells
    ]
