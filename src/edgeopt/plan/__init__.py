"""The plan: both chains of steps with the lowering put in, their keys, and what is cached.

Made without importing torch and without the network. A step's key needs the digest of its input
state, so behind a step that is not cached the keys are not known yet, and the plan says so.
"""

from edgeopt.plan.inputs import Inputs as Inputs
from edgeopt.plan.inputs import check_classes as check_classes
from edgeopt.plan.inputs import in_order as in_order
from edgeopt.plan.inputs import load_rows as load_rows
from edgeopt.plan.keys import data_key as data_key
from edgeopt.plan.keys import full_name as full_name
from edgeopt.plan.keys import hub_data_name as hub_data_name
from edgeopt.plan.keys import key_parts as key_parts
from edgeopt.plan.keys import memory_of as memory_of
from edgeopt.plan.keys import other_digests as other_digests
from edgeopt.plan.keys import seed_of as seed_of
from edgeopt.plan.lookup import look_up as look_up
from edgeopt.plan.making import check as check
from edgeopt.plan.making import looked_up as looked_up
from edgeopt.plan.making import make_plan as make_plan
from edgeopt.plan.making import make_plans as make_plans
from edgeopt.plan.making import plans_by_seed as plans_by_seed
from edgeopt.plan.order import check_order as check_order
from edgeopt.plan.order import load_step as load_step
from edgeopt.plan.steps import Chain as Chain
from edgeopt.plan.steps import Plan as Plan
from edgeopt.plan.steps import PlannedStep as PlannedStep
