"""What other commands have written, as one HTML page that opens offline.

`track_section.py`, `motif_section.py`, `result_section.py` and `column_table.py` read files into JSON; `page.py` puts
it into the page, of which `page.html`, `page.css` and `script/` are the parts.
"""
