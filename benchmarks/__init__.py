"""Programs that measure this project beside a peer, in alternation in one run, and print a table."""
