"""Addresses of the keys app below /api/v1/."""

from django.urls import path

from keys.api import (
    activation,
    branchkeys,
    documents,
    evidence,
    facts,
    key_uses,
    links,
    overview,
    reconciliation,
    views,
)
from keys.datakeys.http import drf

# Asked for thousands of times a second, and looked for in turn: `byokportal.urls` puts these before all others.
data_keys = [
    path("tenants/<str:tenant>/data-keys", drf.DataKeys.as_view(), name="data-keys"),
    path("tenants/<str:tenant>/data-keys/decrypt", drf.Decrypt.as_view(), name="decrypt"),
    path("tenants/<str:tenant>/data-keys/rewrap", drf.Rewrap.as_view(), name="rewrap"),
]
urlpatterns = [
    path("tenants/<str:tenant>/documents/<str:name>", documents.Document.as_view(), name="document"),
    path("tenants/<str:tenant>/document-choices", documents.Choices.as_view(), name="document-choices"),
    path("tenants/<str:tenant>/registration/outputs", documents.Outputs.as_view(), name="outputs"),
    path("tenants/<str:tenant>/change-request", documents.ChangeRequest.as_view(), name="change-request"),
    path("tenants/<str:tenant>/facts", facts.Facts.as_view(), name="facts"),
    path("tenants/<str:tenant>/facts/<str:name>", facts.Control.as_view(), name="control"),
    path("tenants/<str:tenant>/evidence", evidence.Evidence.as_view(), name="evidence"),
    path("tenants/<str:tenant>/evidence/pdf", evidence.EvidencePdf.as_view(), name="evidence-pdf"),
    path("tenants/<str:tenant>/overview", overview.Overview.as_view(), name="overview"),
    path("tenants/<str:tenant>/links", links.Links.as_view(), name="links"),
    path("tenants/<str:tenant>/links/<str:link>", links.OneLink.as_view(), name="link"),
    path("tenants/<str:tenant>/proposals", links.Proposals.as_view(), name="proposals"),
    path(
        "tenants/<str:tenant>/proposals/<str:proposal>/confirm",
        links.ConfirmProposal.as_view(),
        name="confirm-proposal",
    ),
    path(
        "tenants/<str:tenant>/proposals/<str:proposal>/refuse", links.RefuseProposal.as_view(), name="refuse-proposal"
    ),
    path("tenants/<str:tenant>/policy-checks", views.PolicyChecks.as_view(), name="policy-checks"),
    path("tenants/<str:tenant>/reconciliations", reconciliation.Reconciliations.as_view(), name="reconciliations"),
    path("tenants/<str:tenant>/registration", views.Registration.as_view(), name="registration"),
    path("tenants/<str:tenant>/registration/submit", views.Submit.as_view(), name="submit"),
    path("tenants/<str:tenant>/tests", views.Tests.as_view(), name="tests"),
    path("tenants/<str:tenant>/tests/<str:test>", views.Test.as_view(), name="test"),
    path("tenants/<str:tenant>/key", views.Key.as_view(), name="key"),
    path("tenants/<str:tenant>/key/suspend", views.SuspendKey.as_view(), name="suspend"),
    path("tenants/<str:tenant>/key/resume", views.ResumeKey.as_view(), name="resume"),
    path("tenants/<str:tenant>/key/probe", views.AskAgain.as_view(), name="probe"),
    path("tenants/<str:tenant>/key/drop-caches", views.DropCaches.as_view(), name="drop-caches"),
    path("tenants/<str:tenant>/registration/activation", activation.Activation.as_view(), name="activation"),
    path("tenants/<str:tenant>/registration/activate", activation.Activate.as_view(), name="activate"),
    path("tenants/<str:tenant>/registration/withdraw", branchkeys.Withdraw.as_view(), name="withdraw"),
    path("tenants/<str:tenant>/key/branch-keys", branchkeys.BranchKeys.as_view(), name="branch-keys"),
    path("tenants/<str:tenant>/key/rotate", branchkeys.RotateBranchKey.as_view(), name="rotate"),
    path("tenants/<str:tenant>/key/leave", branchkeys.Leave.as_view(), name="leave"),
    path("tenants/<str:tenant>/key/old/<str:registration>/end", branchkeys.EndHorizon.as_view(), name="end-horizon"),
    path("tenants/<str:tenant>/key/cache-drop", views.CacheDrops.as_view(), name="cache-drop"),
    path("tenants/<str:tenant>/key-uses", key_uses.KeyUses.as_view(), name="key-uses"),
    path("tenants/<str:tenant>/key-uses/hours", key_uses.Hours.as_view(), name="key-use-hours"),
    path("tenants/<str:tenant>/key-uses/export", key_uses.Export.as_view(), name="key-uses-export"),
    path("tenants/<str:tenant>/key-uses/export.csv", key_uses.ExportCsv.as_view(), name="key-uses-export-csv"),
    path("tenants/<str:tenant>/key-uses/<str:use>/inclusion", key_uses.Inclusion.as_view(), name="key-use-inclusion"),
    path("tenants/<str:tenant>/key/drills", views.Drills.as_view(), name="drills"),
    path("tenants/<str:tenant>/key/drills/<str:drill>", views.Drill.as_view(), name="drill"),
    path("tenants/<str:tenant>/key/drills/<str:drill>/cancel", views.CancelDrill.as_view(), name="cancel-drill"),
    path("key-states", views.KeyStates.as_view(), name="key-states"),
]
