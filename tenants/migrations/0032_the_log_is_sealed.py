"""What is not sealed yet is found by an index, and each number is given once; neither stops who writes the log."""

from django.db import migrations, models

from byokportal.online_index import AddIndexOnline


class AddConstraintOnline(migrations.AddConstraint):
    """A unique constraint with a condition is an index: on PostgreSQL it is made beside those who write."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != "postgresql":
            return super().database_forwards(app_label, schema_editor, from_state, to_state)
        model = to_state.apps.get_model(app_label, self.model_name)
        # What a run before was stopped in is an index that counts for nothing.
        schema_editor.execute(f"DROP INDEX IF EXISTS {self.constraint.name}")
        statement = str(self.constraint.create_sql(model, schema_editor))
        schema_editor.execute(statement.replace("CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX CONCURRENTLY"), params=None)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('tenants', '0031_log_trees'),
    ]

    operations = [
        AddIndexOnline(
            model_name='auditevent',
            index=models.Index(condition=models.Q(('seal', '')), fields=['id'], name='tenants_event_not_sealed'),
        ),
        AddConstraintOnline(
            model_name='auditevent',
            constraint=models.UniqueConstraint(
                condition=models.Q(('seal', ''), _negated=True), fields=('tenant', 'seal_number'),
                name='tenants_each_number_once',
            ),
        ),
    ]
