"""`apply`: a plan carried out, measured, exported and written down."""
