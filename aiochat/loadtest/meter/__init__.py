"""One process of the load test's clients, and how they check what they get.

worker                     its steps, as links.py has them; pulse: each second of it
crew  places               its clients: which room, who sends; connecting: the handshake
clients  dialects  speech  one connection each, and what it speaks; lines: the bytes
senders  schedule          in an open or a closed loop
people  newcomers          who moves, is cut and resumes; who comes and goes
receivers  stream  order   everybody gets everything, once and in order; judge: or did not
latencies  histogram       and when
"""
