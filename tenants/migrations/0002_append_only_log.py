"""The log is append-only, and a tenant's External ID and service role never change: held by the database."""

from django.db import migrations

MESSAGE_LOG = "the log is append-only"
MESSAGE_TENANT = "a tenant keeps its External ID and its service role"

# Only the follow mark and the seal may be filled in later, and the seal only once.
LOG_FROZEN = ("id", "tenant_id", "name", "actor", "payload", "at", "request_id")
SQLITE = [
    "CREATE TRIGGER tenants_auditevent_no_delete BEFORE DELETE ON tenants_auditevent "
    f"BEGIN SELECT RAISE(ABORT, '{MESSAGE_LOG}'); END",
    "CREATE TRIGGER tenants_auditevent_no_change BEFORE UPDATE ON tenants_auditevent WHEN "
    + " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in LOG_FROZEN)
    + " OR (OLD.seal != '' AND (NEW.seal IS NOT OLD.seal OR NEW.previous_seal IS NOT OLD.previous_seal OR NEW.seal_number IS NOT OLD.seal_number))"
    + " OR (OLD.followed_at IS NOT NULL AND NEW.followed_at IS NOT OLD.followed_at)"
    f" BEGIN SELECT RAISE(ABORT, '{MESSAGE_LOG}'); END",
    "CREATE TRIGGER tenants_tenant_fixed BEFORE UPDATE ON tenants_tenant "
    "WHEN NEW.external_id IS NOT OLD.external_id OR NEW.service_role_id IS NOT OLD.service_role_id "
    f"BEGIN SELECT RAISE(ABORT, '{MESSAGE_TENANT}'); END",
]
POSTGRESQL = [
    f"""
    CREATE FUNCTION tenants_log_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF TG_OP <> 'UPDATE' THEN RAISE EXCEPTION '{MESSAGE_LOG}'; END IF;
      IF {" OR ".join(f"NEW.{column} IS DISTINCT FROM OLD.{column}" for column in LOG_FROZEN)}
         OR (OLD.seal <> '' AND (NEW.seal, NEW.previous_seal, NEW.seal_number) IS DISTINCT FROM (OLD.seal, OLD.previous_seal, OLD.seal_number))
         OR (OLD.followed_at IS NOT NULL AND NEW.followed_at IS DISTINCT FROM OLD.followed_at)
      THEN RAISE EXCEPTION '{MESSAGE_LOG}'; END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER tenants_auditevent_append_only BEFORE UPDATE OR DELETE ON tenants_auditevent
      FOR EACH ROW EXECUTE FUNCTION tenants_log_append_only();
    CREATE TRIGGER tenants_auditevent_no_truncate BEFORE TRUNCATE ON tenants_auditevent
      FOR EACH STATEMENT EXECUTE FUNCTION tenants_log_append_only();
    CREATE FUNCTION tenants_tenant_fixed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.external_id IS DISTINCT FROM OLD.external_id OR NEW.service_role_id IS DISTINCT FROM OLD.service_role_id
      THEN RAISE EXCEPTION '{MESSAGE_TENANT}'; END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER tenants_tenant_fixed BEFORE UPDATE ON tenants_tenant FOR EACH ROW EXECUTE FUNCTION tenants_tenant_fixed();
    """
]
DROP_SQLITE = [
    "DROP TRIGGER IF EXISTS tenants_auditevent_no_delete",
    "DROP TRIGGER IF EXISTS tenants_auditevent_no_change",
    "DROP TRIGGER IF EXISTS tenants_tenant_fixed",
]
DROP_POSTGRESQL = [
    "DROP TRIGGER IF EXISTS tenants_auditevent_append_only ON tenants_auditevent",
    "DROP TRIGGER IF EXISTS tenants_auditevent_no_truncate ON tenants_auditevent",
    "DROP TRIGGER IF EXISTS tenants_tenant_fixed ON tenants_tenant",
    "DROP FUNCTION IF EXISTS tenants_log_append_only()",
    "DROP FUNCTION IF EXISTS tenants_tenant_fixed()",
]


def forwards(apps, schema_editor):
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement, params=None)


def backwards(apps, schema_editor):
    for statement in DROP_POSTGRESQL if schema_editor.connection.vendor == "postgresql" else DROP_SQLITE:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [migrations.RunPython(forwards, backwards)]
