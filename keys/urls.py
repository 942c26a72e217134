"""Portal addresses of the keys app; `byokportal.urls` puts them under the namespace `portal`."""

from django.urls import path

from keys import pasted, views

urlpatterns = [
    path("tenants/<uuid:tenant>/steps/<int:number>/", views.step, name="step"),
    path("tenants/<uuid:tenant>/documents/<slug:name>", views.document, name="document"),
    path("tenants/<uuid:tenant>/check-policy/", pasted.check_policy, name="check-policy"),
    path("tenants/<uuid:tenant>/check-output/", pasted.check_output, name="check-output"),
    path("tenants/<uuid:tenant>/tests/", views.tests, name="tests"),
    path("tenants/<uuid:tenant>/tests/progress/", views.test_progress, name="test-progress"),
    path("tenants/<uuid:tenant>/tests/<uuid:test>/", views.test, name="test"),
    path("tenants/<uuid:tenant>/key/", views.key, name="key"),
    path("tenants/<uuid:tenant>/key/live/", views.key_live, name="key-live"),
    path("tenants/<uuid:tenant>/key/drills/", views.drill_list, name="drills"),
    path("tenants/<uuid:tenant>/key/drills/<uuid:drill>/", views.drill, name="drill"),
    path("tenants/<uuid:tenant>/key/drills/<uuid:drill>/live/", views.drill_live, name="drill-live"),
    path("tenants/<uuid:tenant>/key/drills/<uuid:drill>/cancel/", views.cancel_drill, name="cancel-drill"),
    path("tenants/<uuid:tenant>/key/suspend/", views.suspend, name="suspend"),
    path("tenants/<uuid:tenant>/key/resume/", views.resume, name="resume"),
    path("tenants/<uuid:tenant>/key/drop-caches/", views.drop_caches, name="drop-caches"),
    path("tenants/<uuid:tenant>/key/latency/", views.set_latency, name="latency"),
]
