"""The back office: what Kore.ai staff see and may do; `admin_site.SupportAdminConfig` loads the modules."""
