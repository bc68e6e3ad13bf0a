"""From a set of manifests to a running topology: plan, stage, swap, drain."""
