"""Earlier wrappings of branch keys are insert only, and none goes before its time: a restored backup opens with nothing else.

One may be removed once `kept_until` has passed, or when its registration is retired (its owner ended the horizon).
"""

from django.db import migrations
from django.db.models.functions import Now

MESSAGE = "earlier wrappings of branch keys are kept until the backup horizon"
IS_RETIRED = "EXISTS (SELECT 1 FROM keys_keyregistration r WHERE r.id = OLD.registration_id AND r.status = 'retired')"
SQLITE = [
    f"CREATE TRIGGER keys_wrapping_no_change BEFORE UPDATE ON keys_branchkeywrapping BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
    f"""
    CREATE TRIGGER keys_wrapping_no_early_end BEFORE DELETE ON keys_branchkeywrapping
    WHEN OLD.kept_until > strftime('%Y-%m-%d %H:%M:%f', 'now') AND NOT {IS_RETIRED}
    BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
    """,
]
POSTGRESQL = [
    f"""
    CREATE FUNCTION keys_wrapping_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF TG_OP = 'DELETE' THEN
        IF OLD.kept_until <= clock_timestamp() OR {IS_RETIRED} THEN RETURN OLD; END IF;
      END IF;
      RAISE EXCEPTION '{MESSAGE}';
    END $$;
    CREATE TRIGGER keys_wrapping_is_kept BEFORE UPDATE OR DELETE ON keys_branchkeywrapping FOR EACH ROW EXECUTE FUNCTION keys_wrapping_is_kept();
    CREATE TRIGGER keys_wrapping_no_truncate BEFORE TRUNCATE ON keys_branchkeywrapping FOR EACH STATEMENT EXECUTE FUNCTION keys_wrapping_is_kept();
    """
]
DROP_SQLITE = ["DROP TRIGGER IF EXISTS keys_wrapping_no_change", "DROP TRIGGER IF EXISTS keys_wrapping_no_early_end"]
DROP_POSTGRESQL = [
    "DROP TRIGGER IF EXISTS keys_wrapping_is_kept ON keys_branchkeywrapping",
    "DROP TRIGGER IF EXISTS keys_wrapping_no_truncate ON keys_branchkeywrapping",
    "DROP FUNCTION IF EXISTS keys_wrapping_is_kept()",
]


def forwards(apps, schema_editor):
    # Some of their branch keys may have moved under the version before: their horizon begins now, which is never too early.
    apps.get_model("keys", "KeyRegistration").objects.filter(status="retiring").update(last_moved_at=Now())
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement, params=None)


def backwards(apps, schema_editor):
    for statement in DROP_POSTGRESQL if schema_editor.connection.vendor == "postgresql" else DROP_SQLITE:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = [("keys", "0020_the_backup_horizon")]
    operations = [migrations.RunPython(forwards, backwards)]
