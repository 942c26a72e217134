"""Security switches of the streams of the log: what each line of code prevents, and the tests that have to notice."""

from __future__ import annotations

from tests.mutants.switch import Switch

SENDING, BATCHES = "tenants/log_streams/sending.py", "tenants/log_streams/batches.py"
SERVICES = "tenants/services/log_streams.py"
TESTS = "tests/tenants/test_log_streams.py"

SWITCHES = [
    Switch(
        "a receiver is further only once it took the batch",
        SENDING,
        "    if not outcome.is_delivered:\n        _failed(",
        "    if False:\n        _failed(",
        TESTS,
    ),
    Switch(
        "a worker that lost its claim moves nothing",
        SENDING,
        "LogStream.objects.filter(pk=stream.pk, claimed_at=claim)",
        "LogStream.objects.filter(pk=stream.pk)",
        TESTS,
    ),
    Switch(
        "what is sent again is the same batch",
        BATCHES,
        "    if stream.attempted is not None:\n",
        "    if False:\n",
        TESTS,
    ),
    Switch(
        "a line that waits for its seal is looked for again",
        SENDING,
        'if is_sealing else {"due_at": None',
        'if False else {"due_at": None',
        TESTS,
    ),
    Switch(
        "the sealer wakes the streams of a log that grows",
        "tenants/log_trees.py",
        "held = LogStream.objects.wake({tenant for _, tenant, _, _ in rows if tenant}, clock.now())",
        "held = set()",
        TESTS,
    ),
    Switch(
        "the External ID leaves by no stream",
        BATCHES,
        "return words.without_external_id(ENCODER.encode(found), stream.tenant.external_id)",
        "return ENCODER.encode(found)",
        TESTS,
    ),
    Switch(
        "a second person approves where the log goes",
        SERVICES,
        '    approvals.require(actor, "tenants.change_log_streams", tenant, what=what, **same)\n',
        "",
        TESTS,
    ),
    Switch(
        "a second person approves other headers",
        SERVICES,
        '        approvals.require(actor, "tenants.change_log_streams", stream.tenant, what=asked, **same)\n',
        "",
        TESTS,
    ),
    Switch(
        "a header ends where its line ends",
        SERVICES,
        "        elif not HEADER_VALUE.fullmatch(value):\n",
        "        elif not value:\n",
        TESTS,
    ),
    Switch(
        "we frame the request ourselves",
        SERVICES,
        "        elif name.lower() in OUR_HEADERS or name.lower().startswith(OUR_BEGINNINGS):\n",
        "        elif False:\n",
        TESTS,
    ),
    Switch(
        "a removed stream forgets its secrets",
        SERVICES,
        "status=Status.REMOVED, old_secret_until=None, test_due_at=None, **empty)",
        "status=Status.REMOVED, old_secret_until=None, test_due_at=None)",
        TESTS,
    ),
]
