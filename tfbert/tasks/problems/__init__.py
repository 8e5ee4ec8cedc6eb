"""What can be asked of a text: a problem a file.

`known_problems` lists them; what each must have, `problem.Problem` says.
"""
