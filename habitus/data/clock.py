"""Microseconds, the unit of every timestamp inside."""

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
