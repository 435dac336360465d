"""`make profile`: what it reads out of py-spy's flame graph."""

from benchmarks.profile import own_samples

# As py-spy 0.4 writes it: each box below the one that it was called from.
GRAPH = (
    "<g><title>all (10 samples, 100%)</title>"
    '<rect x="0%" y="36" width="100%" height="15" fill="rgb(250,0,0)" fg:x="0" fg:w="10"/></g>'
    "<g><title>turn (aiochat/hub.py:144) (7 samples, 70.00%)</title>"
    '<rect x="0%" y="52" width="70%" height="15" fill="rgb(227,0,7)" fg:x="0" fg:w="7"/></g>'
    "<g><title>&lt;module&gt; (app.py:1) (3 samples, 30.00%)</title>"
    '<rect x="70%" y="52" width="30%" height="15" fill="rgb(227,0,7)" fg:x="7" fg:w="3"/></g>'
    "<g><title>write (libc.so.6) (4 samples, 40.00%)</title>"
    '<rect x="0%" y="68" width="40%" height="15" fill="rgb(227,0,7)" fg:x="0" fg:w="4"/></g>'
    "<g><title>write (libc.so.6) (1 sample, 10.00%)</title>"
    '<rect x="90%" y="68" width="10%" height="15" fill="rgb(227,0,7)" fg:x="9" fg:w="1"/></g>'
)


def test_a_function_has_the_samples_that_none_it_called_has() -> None:
    """What is printed is who had the processor: of each box, what the boxes within it leave."""
    # when
    own = own_samples(GRAPH)

    # then
    assert own == {"all": 0, "turn (aiochat/hub.py:144)": 3, "<module> (app.py:1)": 2, "write (libc.so.6)": 5}
    assert own.total() == 10
