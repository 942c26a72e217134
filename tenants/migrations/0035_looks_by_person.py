from django.db import migrations, models

from byokportal.online_index import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("tenants", "0034_language_of_a_person"),
    ]

    operations = [
        AddIndexOnline(
            model_name="auditevent",
            index=models.Index(
                condition=models.Q(("name", "tenants.tenant.viewed")),
                fields=["actor", "at"],
                name="tenants_event_looks",
            ),
        ),
    ]
