"""Networks of one architecture as one network: K of them on a leading axis, each as it is alone.

`stack` takes K networks that were built alone and gives one that maps [K, B, ...] to [K, B, ...]: a
copy of the first, in which each layer is replaced by its stacked counterpart, and which runs the same
`forward`. So a network can be stacked if its layers are known here and its `forward` does with any axes
before the batch's; it says so by the attribute `stacks = True`.

Weights keep the shape that they have alone behind the leading axis, so that one network's are a view.
"""

from __future__ import annotations

from gansearch.networks.stacked.layers import CannotStack
from gansearch.networks.stacked.network import StackedNetwork, in_turn, stack, stacked_name, why_not
from gansearch.networks.stacked.row import OwnLayer

__all__ = ["CannotStack", "OwnLayer", "StackedNetwork", "in_turn", "stack", "stacked_name", "why_not"]
