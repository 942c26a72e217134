"""Step 5: role ARNs packed into our service roles' policies, written to IAM and proven (design.md 6)."""
