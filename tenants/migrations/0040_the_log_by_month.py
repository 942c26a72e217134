"""On PostgreSQL the log is partitioned by month; the rows of before are the first partition, and none is moved.

Django's state keeps `id` as the primary key and one number once in a log: PostgreSQL's primary key has the month's
column too, and each partition has an index of its own that refuses a number twice.
"""

from importlib import import_module

from django.db import migrations

from byokportal.postgresql import partitions

TABLE = "tenants_auditevent"
TRIGGERS = (
    f"CREATE TRIGGER {TABLE}_append_only BEFORE UPDATE OR DELETE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION tenants_log_append_only()",
    f"CREATE TRIGGER {TABLE}_no_truncate BEFORE TRUNCATE ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION tenants_log_append_only()",
)
EACH_NUMBER_ONCE = f"CREATE UNIQUE INDEX tenants_each_number_once ON {TABLE} (tenant_id, seal_number) WHERE NOT (seal = '')"


def forwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        partitions.adopt(TABLE, also_locked="tenants_tenant", triggers=TRIGGERS)


def backwards(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        partitions.give_up(TABLE, triggers=(*TRIGGERS, EACH_NUMBER_ONCE))


class Migration(migrations.Migration):
    atomic = False
    beside_the_old_version = (
        "the table takes the same statements and gives the same answers as before, its sequence goes on; "
        "it is locked for a fraction of a second, and a month ahead of any row of the version before has its partition"
    )
    dependencies = [
        ("tenants", "0039_names_of_people"),
        ("keys", "0046_lines_without_a_constraint"),
        ("support", "0022_lines_without_a_constraint"),
    ]
    operations = [migrations.RunPython(forwards, backwards, atomic=False)]
