"""The skips plugin, in pytest runs of its own."""

import pytest

A_SKIP = """
    import pytest

    def test_that_needs_a_part():
        pytest.skip("the part is absent")
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of one skipped test that allows no skip; nothing says CI."""
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(A_SKIP)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    allow(pytester, "# none")
    return pytester


def allow(project: pytest.Pytester, line: str) -> None:
    """Write the list of skips that CI allows."""
    folder = project.path / "tests"
    folder.mkdir(exist_ok=True)
    folder.joinpath("skips.txt").write_text(line)


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """One run of pytest in the project, with the plugin."""
    return project.runpytest_inprocess("-p", "tests.skips", "-p", "no:hypothesispytest", *arguments)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_every_skip_is_listed_with_its_reason(project: pytest.Pytester, workers: str) -> None:
    """At the end of a run, with and without xdist, stands which test was skipped and why."""
    result = run(project, "-n", workers)
    result.stdout.fnmatch_lines(["*skipped tests*", "*::test_that_needs_a_part: the part is absent"])
    assert result.ret == pytest.ExitCode.OK


def test_a_skip_fails_the_run_in_ci(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """With CI=true a skip that the list does not allow is a failure that is named."""
    monkeypatch.setenv("CI", "true")
    result = run(project, "-n", "1")
    result.stdout.fnmatch_lines(["FAILED: *::test_that_needs_a_part is skipped, *"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_module_that_skips_itself_counts(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of which nothing is collected cannot hide its tests from CI."""
    monkeypatch.setenv("CI", "true")
    project.makepyfile(test_all="import pytest\npytest.importorskip('no_such_module')\n", test_skips=" ")
    result = run(project, "test_all.py", "-W", "default")
    result.stdout.fnmatch_lines(["FAILED: test_all.py is skipped, *"])


def test_a_listed_skip_passes_in_ci(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the list allows, with a reason, is still shown and fails nothing."""
    monkeypatch.setenv("CI", "true")
    allow(project, "*::test_that_needs_*  no machine has the part")
    result = run(project)
    result.stdout.fnmatch_lines(["*::test_that_needs_a_part: the part is absent"])
    assert result.ret == pytest.ExitCode.OK


def test_a_listed_skip_needs_a_reason(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A glob alone is refused: whoever allows a skip says why."""
    monkeypatch.setenv("CI", "true")
    allow(project, "*::test_that_needs_a_part")
    assert run(project).ret != pytest.ExitCode.OK
