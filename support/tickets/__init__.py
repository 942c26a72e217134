"""Tickets: their rows, on whom they wait, their clocks, ready answers, and mails that come in."""
