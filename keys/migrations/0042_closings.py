"""The closing of an organisation and its receipts; what the database lets go of then, and what it takes in no more.

Earlier wrappings of branch keys may go before their time where their organisation is closed, and nothing that opens
anything is written for a closed one again. The loads of branch keys stay when the branch keys are destroyed: SQLite
makes their table anew for that, and its triggers with it.
"""

import byokportal.clock
import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models
from importlib import import_module

LOADS = import_module("keys.migrations.0026_branch_key_loads")
KEPT = import_module("keys.migrations.0021_wrappings_are_insert_only")
IS_CLOSED = "EXISTS (SELECT 1 FROM tenants_tenant t WHERE t.id = {}.tenant_id AND t.closed_at IS NOT NULL)"
NO_KEY = "an organisation that is closed gets no key"
SIGNED = "receipts are append-only"
HOLDERS = ("keys_branchkey", "keys_branchkeywrapping")
REFUSE = f"BEGIN SELECT RAISE(ABORT, '{SIGNED}'); END"
SQLITE = [
    "DROP TRIGGER IF EXISTS keys_wrapping_no_early_end",
    f"""
    CREATE TRIGGER keys_wrapping_no_early_end BEFORE DELETE ON keys_branchkeywrapping
    WHEN OLD.kept_until > strftime('%Y-%m-%d %H:%M:%f', 'now') AND NOT {KEPT.IS_RETIRED} AND NOT {IS_CLOSED.format("OLD")}
    BEGIN SELECT RAISE(ABORT, '{KEPT.MESSAGE}'); END
    """,
    *(
        f"CREATE TRIGGER {table}_of_the_open BEFORE INSERT ON {table} WHEN {IS_CLOSED.format('NEW')} "
        f"BEGIN SELECT RAISE(ABORT, '{NO_KEY}'); END"
        for table in HOLDERS
    ),
    f"CREATE TRIGGER keys_receipt_no_delete BEFORE DELETE ON keys_closingreceipt {REFUSE}",
    f"CREATE TRIGGER keys_receipt_no_change BEFORE UPDATE ON keys_closingreceipt {REFUSE}",
    f"CREATE TRIGGER keys_receipt_no_replace BEFORE INSERT ON keys_closingreceipt "
    f"WHEN EXISTS (SELECT 1 FROM keys_closingreceipt WHERE id = NEW.id OR (closing_id = NEW.closing_id AND number = NEW.number)) {REFUSE}",
]
KEEPS = """
    CREATE OR REPLACE FUNCTION keys_wrapping_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF TG_OP = 'DELETE' THEN
        IF OLD.kept_until <= clock_timestamp() OR {conditions} THEN RETURN OLD; END IF;
      END IF;
      RAISE EXCEPTION '{message}';
    END $$;
"""
POSTGRESQL = [
    KEEPS.format(conditions=f"{KEPT.IS_RETIRED} OR {IS_CLOSED.format('OLD')}", message=KEPT.MESSAGE),
    f"""
    CREATE FUNCTION keys_no_key_of_the_closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF {IS_CLOSED.format("NEW")} THEN RAISE EXCEPTION '{NO_KEY}'; END IF;
      RETURN NEW;
    END $$;
    CREATE FUNCTION keys_receipt_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{SIGNED}'; END $$;
    CREATE TRIGGER keys_receipt_append_only BEFORE UPDATE OR DELETE ON keys_closingreceipt
      FOR EACH ROW EXECUTE FUNCTION keys_receipt_append_only();
    CREATE TRIGGER keys_receipt_no_truncate BEFORE TRUNCATE ON keys_closingreceipt
      FOR EACH STATEMENT EXECUTE FUNCTION keys_receipt_append_only();
    """,
    *(
        f"CREATE TRIGGER {table}_of_the_open BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION keys_no_key_of_the_closed()"
        for table in HOLDERS
    ),
]
DROP_SQLITE = [
    "DROP TRIGGER IF EXISTS keys_wrapping_no_early_end",
    *(f"DROP TRIGGER IF EXISTS {table}_of_the_open" for table in HOLDERS),
    *(f"DROP TRIGGER IF EXISTS keys_receipt_no_{what}" for what in ("delete", "change", "replace")),
]
DROP_POSTGRESQL = [
    *(f"DROP TRIGGER IF EXISTS {table}_of_the_open ON {table}" for table in HOLDERS),
    "DROP TRIGGER IF EXISTS keys_receipt_append_only ON keys_closingreceipt",
    "DROP TRIGGER IF EXISTS keys_receipt_no_truncate ON keys_closingreceipt",
    "DROP FUNCTION IF EXISTS keys_receipt_append_only()",
    "DROP FUNCTION IF EXISTS keys_no_key_of_the_closed()",
]


def forwards(apps, schema_editor):
    for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
        schema_editor.execute(statement, params=None)


def backwards(apps, schema_editor):
    is_postgresql = schema_editor.connection.vendor == "postgresql"
    before = KEEPS.format(conditions=KEPT.IS_RETIRED, message=KEPT.MESSAGE) if is_postgresql else KEPT.SQLITE[1]
    for statement in (*(DROP_POSTGRESQL if is_postgresql else DROP_SQLITE), before):
        schema_editor.execute(statement, params=None)


def make_load_triggers(apps, schema_editor):
    """SQLite made the table of loads anew, and dropped its triggers with the old one."""
    if schema_editor.connection.vendor == "sqlite":
        for statement in (*LOADS.DROP_SQLITE, *LOADS.SQLITE):
            schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    beside_the_old_version = (
        "The triggers refuse branch keys and wrappings of closed organisations alone, which only the new version makes; "
        "there the one before fails closed: it gives out no key. Wrappings may go in one more case, and loads name a "
        "branch key as before."
    )

    dependencies = [
        ('keys', '0041_no_index_twice'),
        ('tenants', '0038_closed_for_good'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, make_load_triggers),
        migrations.AlterField(
            model_name='branchkeyload',
            name='branch_key',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='loads', to='keys.branchkey'),
        ),
        migrations.RunPython(make_load_triggers, migrations.RunPython.noop),
        migrations.CreateModel(
            name='Closing',
            fields=[
                ('due_at', models.DateTimeField(default=byokportal.clock.now, null=True)),
                ('claimed_at', models.DateTimeField(null=True)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('woken_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(default=byokportal.clock.now, editable=False)),
                ('finished_at', models.DateTimeField(null=True)),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('waiting', 'Waits for a second lead'), ('queued', 'About to be done'), ('refused', 'Refused'), ('stopped', 'Stopped: nothing was destroyed'), ('erased', 'Keys destroyed; our policies let go of its roles'), ('closed', 'Closed; copies end at the date of the receipt'), ('ended', 'The last copy is gone')], default='waiting', max_length=16)),
                ('reason', models.CharField(max_length=200)),
                ('requested_by', models.CharField(max_length=200)),
                ('decided_by', models.CharField(blank=True, max_length=200)),
                ('decision', models.CharField(blank=True, max_length=200)),
                ('why', models.CharField(blank=True, max_length=300)),
                ('folder', models.CharField(blank=True, max_length=500)),
                ('erased_at', models.DateTimeField(blank=True, null=True)),
                ('ends_at', models.DateTimeField(blank=True, null=True)),
                ('facts', models.JSONField(default=dict)),
                ('addresses', models.JSONField(default=list)),
                ('approved', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('asked', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='closings', to='tenants.tenant')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='ClosingReceipt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveSmallIntegerField()),
                ('body', models.TextField()),
                ('signature', models.CharField(max_length=200)),
                ('public_key', models.CharField(max_length=200)),
                ('signed_at', models.DateTimeField(default=byokportal.clock.now)),
                ('closing', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='receipts', to='keys.closing')),
            ],
            options={
                'ordering': ['number'],
            },
        ),
        migrations.AddIndex(
            model_name='closing',
            index=models.Index(fields=['due_at'], name='keys_closing_due'),
        ),
        migrations.AddConstraint(
            model_name='closing',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ['refused', 'stopped']), _negated=True), fields=('tenant',), name='keys_one_closing_per_tenant'),
        ),
        migrations.AddConstraint(
            model_name='closing',
            constraint=models.CheckConstraint(condition=models.Q(('approved', None), models.Q(('approved', models.F('asked')), _negated=True), _connector='OR'), name='keys_two_leads_close'),
        ),
        migrations.AddConstraint(
            model_name='closing',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status__in', ['erased', 'closed', 'ended']), _negated=True), ('erased_at__isnull', False), _connector='OR'), name='keys_closing_says_when'),
        ),
        migrations.AddConstraint(
            model_name='closingreceipt',
            constraint=models.UniqueConstraint(fields=('closing', 'number'), name='keys_each_receipt_once'),
        ),
        migrations.AddConstraint(
            model_name='closingreceipt',
            constraint=models.CheckConstraint(condition=models.Q(('number__gte', 1), ('number__lte', 2)), name='keys_two_receipts'),
        ),
        migrations.RunPython(forwards, backwards),
    ]
