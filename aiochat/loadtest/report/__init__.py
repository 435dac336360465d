"""What a load test shows, made of its record alone.

table  page      at the end, in the terminal and as an HTML file; live: while it runs
compare          with an older one
figures  words   what is shown, in which unit, and which way is better; the verdict
graphs  charts   which pictures there are, and how they are drawn; axes
"""
