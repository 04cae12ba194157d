"""Shared capacity: tenants of one cluster, users of one commons, bidders for one good."""

from __future__ import annotations

from envs.resource_allocation.cluster import ALLOCATION_LOG, CLUSTER
from envs.resource_allocation.commons import COMMONS
from envs.resource_allocation.sharing import SHARING

RESOURCE_ALLOCATION = (CLUSTER, ALLOCATION_LOG, COMMONS, SHARING)
