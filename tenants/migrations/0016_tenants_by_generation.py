from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0015_each_token_knows_its_secret")]
    operations = [
        migrations.AddIndex(
            model_name="tenant", index=models.Index(fields=["key_generation"], name="tenants_by_generation")
        ),
    ]
