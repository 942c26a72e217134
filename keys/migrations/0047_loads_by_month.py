"""On PostgreSQL the unwraps of branch keys are partitioned by month; the rows of before are the first partition, and none is moved.

Django's state keeps `id` as the primary key: PostgreSQL's has the month's column too. Ids are random.
"""

from django.db import migrations

from byokportal.postgresql import partitions

TABLE = "keys_branchkeyload"
TRIGGERS = (
    f"CREATE TRIGGER keys_load_append_only BEFORE UPDATE OR DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION keys_load_append_only()",
    f"CREATE TRIGGER keys_load_no_truncate BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION keys_load_append_only()",
)


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        partitions.adopt(TABLE, also_locked="tenants_tenant", triggers=TRIGGERS)


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        partitions.give_up(TABLE, triggers=TRIGGERS)


class Migration(migrations.Migration):
    atomic = False
    beside_the_old_version = (
        "the table takes the same statements and gives the same answers as before; "
        "it is locked for a fraction of a second, and a month ahead of any row of the version before has its partition"
    )
    dependencies = [("keys", "0046_lines_without_a_constraint")]
    operations = [migrations.RunPython(forwards, backwards, atomic=False)]
