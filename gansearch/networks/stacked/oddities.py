"""What a network may have that a stack of several would lose: hooks, shared weights, an extra state."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

ON_MODULES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
ON_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")
OF_OURS = ON_MODULES[:2]
"""Those that gansearch may have put on a whole network, to look at what it is given and gives."""


def oddity(network: nn.Module) -> str:
    """The first thing of its kind, in words; empty where there is none."""
    return next(_oddities(network), "")


def _oddities(network: nn.Module) -> Iterator[str]:
    owners = dict[Tensor, str]()
    for name, module in network.named_modules():
        kinds = ON_MODULES if name else [kind for kind in ON_MODULES if kind not in OF_OURS]
        if any(getattr(module, kind) for kind in kinds):
            yield f"a hook on '{name}'" if name else "a hook on the whole of it"
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            yield "a `get_extra_state`"
        for own, parameter in module.named_parameters(prefix=name, recurse=False):
            if any(getattr(parameter, kind, None) for kind in ON_TENSORS):
                yield f"a hook on '{own}'"
            if not parameter.requires_grad:
                yield f"'{own}', which is not trained"
            if first := owners.get(parameter):
                yield f"a weight in two places, '{first}' and '{own}'"
            owners[parameter] = own
