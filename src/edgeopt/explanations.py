"""What each error code means, for `edgeopt explain`."""

EXPLANATIONS = {}  # type: dict[str, str]
