"""The exporters of edgeopt, one file a runtime, found through the entry-point group `edgeopt.exporters`."""
