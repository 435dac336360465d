"""What the benchmarks of many nodes print, and docs/scaling.md that shows it."""

from pathlib import Path

import pytest

from benchmarks.measured import PAGE, replaced, table, written

SHOWN = """Before.

```
$ .venv/bin/python -m benchmarks.one
old
```

```
$ .venv/bin/python -m benchmarks.two
kept
```
"""


def test_what_is_printed_takes_the_place_of_what_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There and nowhere else on the page."""
    page = tmp_path / "page.md"
    page.write_text(SHOWN)
    written("benchmarks.one", ["new", "\\1"], page)
    assert capsys.readouterr().out == "new\n\\1\n"
    assert page.read_text() == SHOWN.replace("old", "new\n\\1")


def test_a_page_that_does_not_show_it_is_an_error() -> None:
    """Rather than nothing."""
    with pytest.raises(ValueError, match="shows 0 times"):
        replaced(SHOWN, "benchmarks.three", "new\n")


@pytest.mark.parametrize("module", ["benchmarks.cluster", "benchmarks.redis_costs"])
def test_the_page_shows_what_is_measured(module: str) -> None:
    """Where a new run puts its figures."""
    assert replaced(PAGE.read_text("utf-8"), module, "new\n").count("new\n") == 1


def test_columns_are_as_wide_as_they_must_be() -> None:
    """Figures stand on the right."""
    assert table(("", "us"), [("a message", "1.5"), ("two", "10.0")]) == [
        "             us",
        "a message   1.5",
        "two        10.0",
    ]
