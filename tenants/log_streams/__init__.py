"""The log on its way to a tenant's SIEM: lines as OCSF, batches as receivers take them, and the sending."""
