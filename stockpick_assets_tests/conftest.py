"""What holds for every test: hypothesis looks for a counterexample, not for one that takes long on a busy machine."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
