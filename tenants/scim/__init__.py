"""SCIM 2.0 (RFC 7643, RFC 7644) below /api/scim/v2/<tenant>/: a tenant's directory tells who belongs to it."""
