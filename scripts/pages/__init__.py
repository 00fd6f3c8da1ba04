"""Pages of the documents that are made from the code and from the results of the benchmarks."""
