"""The back office: what Kore.ai staff see and may do; `site.SupportAdminConfig` loads the modules."""
