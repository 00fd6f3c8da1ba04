"""ERNIE (Sun et al. 2019, Enhanced Representation through Knowledge Integration), whose layers have BERT's names."""

from edgeopt.plugins import bert_like

ERNIE = bert_like("ernie", readers=("classifier", "qa_outputs"))
