"""Data: events -> examples -> sequences -> encoded rows -> batches. Which rows come in which order."""
