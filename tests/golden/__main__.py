"""`python -m tests.golden` writes the golden texts again."""

from tests.golden import write

write()
