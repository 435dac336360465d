"""`aiochat loadtest`: an honest meter for a server of its own, or for any that speaks aiochat's protocols.

arguments  main      the command: what is asked, checked whole; the reports and the exit code
scenario             what the clients do: a small TOML file
target  server  peer what is measured: found at a URL, or started; machine, descriptors: what there is to run it on
rounds  run          each round from the parent's side; totals: what all have told, added up; interrupts: Ctrl-C
links                what parent and workers tell each other; workers: the processes, as the parent sees them
meter/               one such process: the clients, and how they check what they get
record               all that was measured; report/ shows it: table, page, comparison, and a view while it runs
"""
