"""Spark without Dagster: features, training and scoring as functions of frames."""
