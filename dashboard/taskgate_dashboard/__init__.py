"""The approver's and reviewer's dashboard. Speaks to the control API only."""
