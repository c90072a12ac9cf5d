"""How prompts are traced, as an asset is told."""

from __future__ import annotations

import pytest

from neuron_atlas.defs.resources.tracing import TracingResource
from neuron_atlas.errors import BadInput


@pytest.mark.parametrize("rules", ["gradient", "half+qk"])
def test_rules_under_which_effects_do_not_add_up_are_refused_before_anything_is_traced(rules: str):
    tracing = TracingResource(k=5, tau=0.005, rules=rules)
    with pytest.raises(BadInput, match=r"raw_graphs needs linear rules \(relp, gate-frozen\)"):
        tracing.fingerprint(None)
