"""The command. A module of its own, and nothing in it: multiprocessing executes a `__main__` again in every run, but
not one of this name.
"""

from stockpick_assets.fine_partitions.code_server import command

command()
