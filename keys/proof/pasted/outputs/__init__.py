"""Step 4 of the guide: the commands that the customer runs to validate the set-up,
and a reading of what they answer; pure."""
