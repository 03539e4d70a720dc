"""The formats of lists: one file each, with a function `rows`. `list_rows.FORMATS` is the table of them."""
