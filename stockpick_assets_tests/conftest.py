"""What holds for every test.

Hypothesis looks for a counterexample, not for one that takes long on a busy machine. A Java that a test starts has the
first of its two compilers alone, which is enough for some minutes: with it, and with room for all compiled classes, the
tests of models took 35 s of the Spark server's processor time against 71 s.
"""

import os

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
