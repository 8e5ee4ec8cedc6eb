"""Forms of tables: CSV and TSV as spreadsheets and programs write them, JSON lines and arrays.

`tables` opens them, `documents` reads folders and archives; `rows` is what they have in common.
"""
