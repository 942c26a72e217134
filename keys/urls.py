"""Portal addresses of the keys app; `byokportal.urls` puts them under the namespace `portal`."""

from django.urls import path

from keys.views import branchkeys, drills, facts, key, pasted, steps, tests

urlpatterns = [
    path("tenants/<uuid:tenant>/steps/<int:number>/", steps.step, name="step"),
    path("tenants/<uuid:tenant>/outputs/", steps.outputs, name="outputs"),
    path("tenants/<uuid:tenant>/document-choices/", steps.choose_documents, name="document-choices"),
    path("tenants/<uuid:tenant>/documents/<slug:name>", steps.document, name="document"),
    path("tenants/<uuid:tenant>/facts/", facts.facts, name="facts"),
    path("tenants/<uuid:tenant>/facts/<slug:name>", facts.control, name="control"),
    path("tenants/<uuid:tenant>/check-policy/", pasted.check_policy, name="check-policy"),
    path("tenants/<uuid:tenant>/check-output/", pasted.check_output, name="check-output"),
    path("tenants/<uuid:tenant>/tests/", tests.tests, name="tests"),
    path("tenants/<uuid:tenant>/tests/progress/", tests.test_progress, name="test-progress"),
    path("tenants/<uuid:tenant>/tests/<uuid:test>/", tests.test, name="test"),
    path("tenants/<uuid:tenant>/key/", key.key, name="key"),
    path("tenants/<uuid:tenant>/key/live/", key.key_live, name="key-live"),
    path("tenants/<uuid:tenant>/key/drills/", drills.drill_list, name="drills"),
    path("tenants/<uuid:tenant>/key/drills/<uuid:drill>/", drills.drill, name="drill"),
    path("tenants/<uuid:tenant>/key/drills/<uuid:drill>/live/", drills.drill_live, name="drill-live"),
    path("tenants/<uuid:tenant>/key/drills/<uuid:drill>/cancel/", drills.cancel_drill, name="cancel-drill"),
    path("tenants/<uuid:tenant>/key/suspend/", key.suspend, name="suspend"),
    path("tenants/<uuid:tenant>/key/resume/", key.resume, name="resume"),
    path("tenants/<uuid:tenant>/key/probe/", key.ask_again, name="probe"),
    path("tenants/<uuid:tenant>/key/drop-caches/", key.drop_caches, name="drop-caches"),
    path("tenants/<uuid:tenant>/key/latency/", key.set_latency, name="latency"),
    path("tenants/<uuid:tenant>/key/branch-keys/", branchkeys.branch_keys, name="branch-keys"),
    path("tenants/<uuid:tenant>/key/old/<uuid:registration>/end/", branchkeys.end_horizon, name="end-horizon"),
    path("tenants/<uuid:tenant>/key/rotate/", branchkeys.rotate, name="rotate"),
    path("tenants/<uuid:tenant>/key/leave/", branchkeys.leave, name="leave"),
    path("tenants/<uuid:tenant>/registration/preparing/", branchkeys.preparing, name="preparing"),
    path("tenants/<uuid:tenant>/registration/withdraw/", branchkeys.withdraw, name="withdraw"),
]
