"""stockpick: raw_prices → features → predictions → picks → scores, every minute, with a model fitted every session."""

__version__ = "0.1.0"
