"""Calibration: parameters of the games from data."""
