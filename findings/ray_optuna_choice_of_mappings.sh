#!/usr/bin/env bash
# ray[tune] 2.60.0 with optuna 5.0.0: `OptunaSearch` and a choice between mappings.
#
# Tune's own variant generator resolves an axis inside an option of `tune.choice`. OptunaSearch takes the
# same space without a word and hands the trainable the axis OBJECT in place of a number, for every trial
# that draws that option. A loss with an option of its own (a penalty's weight) is the usual case.
#
# Output seen:
#   BasicVariantGenerator: weight is a float
#   OptunaSearch:          weight is a Float (ray.tune.search.sample)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0' 'optuna==5.0.0' 2>/dev/null
cat > "$folder/try.py" <<'PY'
import warnings
warnings.simplefilter("ignore")
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.variant_generator import generate_variants

space = {"loss": tune.choice([{"name": "hinge"}, {"name": "wasserstein", "weight": tune.loguniform(0.1, 100)}])}

def weight(configs):
    return next(c["loss"]["weight"] for c in configs if c["loss"]["name"] == "wasserstein")

own = weight(config for _ in range(50) for _, config in generate_variants(space))
search = OptunaSearch(seed=0)
search.set_search_properties("m", "min", space)
optunas = weight(search.suggest(str(i)) for i in range(50))
print(f"BasicVariantGenerator: weight is a {type(own).__name__}")
print(f"OptunaSearch:          weight is a {type(optunas).__name__} ({type(optunas).__module__})")
raise SystemExit(not (isinstance(own, float) and not isinstance(optunas, float)))
PY
"$folder/venv/bin/python" "$folder/try.py" 2>/dev/null
