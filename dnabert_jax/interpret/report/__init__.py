"""Makes one HTML page, which opens offline, of what other commands have written.

`sections.py` reads their files into JSON; `page.py` puts it into `page.html`, with `page.css` and the scripts.
"""
