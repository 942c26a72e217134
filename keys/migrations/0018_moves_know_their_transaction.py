from django.db import migrations, models

import byokportal.visibility


class Migration(migrations.Migration):
    dependencies = [("keys", "0017_database_admission")]
    operations = [
        migrations.AddField(
            model_name="registrationmove",
            name="transaction",
            field=models.BigIntegerField(db_default=byokportal.visibility.CurrentTransaction()),
        ),
        migrations.AddIndex(
            model_name="registrationmove",
            index=models.Index(fields=["transaction", "id"], name="keys_move_by_transaction"),
        ),
    ]
