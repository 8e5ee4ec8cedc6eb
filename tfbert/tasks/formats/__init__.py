"""Forms of tables: CSV and TSV as spreadsheets and programs write them, JSON lines and arrays.

`tables` in the folder above opens them; `rows` is what they have in common.
"""
