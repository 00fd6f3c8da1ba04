"""What an exporter is, which files a graph needs, and a session of the runtime with its options."""
