"""What AWS said → what it means: one grammar for whoever reads an AWS error; pure.

Sources: IAM guide, "Troubleshoot access denied error messages"; KMS guide, "Key states of KMS keys" and
"Troubleshooting external key stores"; the error lists of the KMS and STS API references.
"""
