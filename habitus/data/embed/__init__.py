"""What an `Embed` task reads: texts or histories, in pairs, with scores, by class, or alone."""
