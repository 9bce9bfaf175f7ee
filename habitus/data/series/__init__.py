"""Series: long tables of values by step, their windows, their split by time, and how they are scaled."""
