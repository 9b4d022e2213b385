"""Policy: from YAML files and facts to a decision. docs/policy.md is its reference for people."""
