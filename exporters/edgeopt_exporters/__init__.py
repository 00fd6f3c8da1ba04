"""edgeopt's exporters, one file a runtime, found through the entry-point group `edgeopt.exporters`."""
