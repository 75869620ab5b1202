#!/usr/bin/env bash
# torch 2.15.0: to make an optimizer loads the whole compiler, though nothing is compiled.
#
# Four methods of `torch.optim.Optimizer` (add_param_group, zero_grad, state_dict, load_state_dict) stand
# behind a guard against being compiled, and the guard imports torch._dynamo when it is first called, which
# is in the constructor. So every process that trains loads some 900 modules more, of sympy and of the
# compiler, and takes nearly twice as long to start as with `import torch` alone; with a process for each
# trial that is paid by every trial. Forward and backward passes load none of it. An optimizer whose
# four methods are the unguarded ones (`inspect.unwrap`) computes the same and loads nothing.
# Expected: an import of the compiler where something is compiled.
#
# Output seen (1 thread):
#   import torch, a forward and a backward pass: compiler loaded: False
#   torch.optim.Adam made: compiler loaded: True, 904 modules, 1.1 s of processor time (import torch: 1.3 s)
#   Adam with unguarded methods, made and stepped: compiler loaded: False, same weights: True
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch==2.15.0' 'numpy' 2>/dev/null
cat > "$folder/try.py" <<'PY'
import inspect
import sys
import time

begun = time.process_time()
import torch

loading = time.process_time() - begun
torch.set_num_threads(1)


def loaded():
    return "torch._dynamo" in sys.modules


def trained(kind):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1)
    layer(torch.ones(2, 3)).sum().backward()
    before = loaded()
    optimizer = kind(layer.parameters(), lr=0.1)
    optimizer.step()
    return before, layer.weight.detach()


hooked = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
methods = {name: inspect.unwrap(getattr(torch.optim.Adam, name)) for name in hooked}
methods["step"] = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
_, ours = trained(type("Adam", (torch.optim.Adam,), methods))
without = loaded()
modules, begun = len(sys.modules), time.process_time()
before, theirs = trained(torch.optim.Adam)
seconds, modules = time.process_time() - begun, len(sys.modules) - modules
same = bool(torch.equal(ours, theirs))
print(f"import torch, a forward and a backward pass: compiler loaded: {before}")
print(
    f"torch.optim.Adam made: compiler loaded: {loaded()}, {modules} modules, {seconds:.1f} s of processor "
    f"time (import torch: {loading:.1f} s)"
)
print(f"Adam with unguarded methods, made and stepped: compiler loaded: {without}, same weights: {same}")
raise SystemExit(not (not before and loaded() and modules > 300 and not without and same))
PY
"$folder/venv/bin/python" "$folder/try.py"
