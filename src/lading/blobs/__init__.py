"""What moving blobs needs, whatever moves them: digests, downloads, retries, progress, locks, OS errors."""
