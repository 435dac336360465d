"""`aiochat loadtest`: an honest meter for a server of its own, or for any that speaks aiochat's protocols.

arguments  main      the command: what is asked, checked whole; the reports and the exit code
scenario             what the clients do: a small TOML file
target  server  peer what is measured: found at a URL, or started; machine, descriptors: what there is to run it on
rounds  run          each round from the parent's side; totals: what all have told, added up; interrupts: Ctrl-C
links                what parent and workers tell each other; workers: the processes, as the parent sees them
worker               one process of clients; crew, connecting, clients, senders, people, newcomers: who does what
stream  order  judge whether everybody got everything, once and in order; histogram, latencies: and when
record               all that was measured; report, page and compare are made of it alone; live: while it runs
"""
