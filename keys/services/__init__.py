"""Operations of the keys app, one module for each noun; the other apps and the entry points call them from here."""

from keys.services.databases import admit_database
from keys.services.documents import Texts, change_request, choose_documents, document, texts_of
from keys.services.drills import cancel_drill, start_drill
from keys.services.facts import Facts, control, facts_of
from keys.services.horizon import end_horizon
from keys.services.incidents import close_incident
from keys.services.key import (
    Drop,
    KeyState,
    ask_again,
    drop_caches,
    key_state,
    last_drop,
    leave,
    resume,
    rotate_branch_key,
    set_latency,
    suspend,
)
from keys.services.key_states import read_key_states
from keys.services.links import (
    confirm_proposal,
    link_by_secret,
    link_of,
    make_link,
    note_opened,
    pending_proposal,
    proposal_of,
    propose,
    refuse_proposal,
    revoke_link,
)
from keys.services.proof import (
    check_policy,
    compare_tests,
    granted_by_policy,
    likely_changes_of,
    read_output,
    read_test,
    remedies_of,
    start_test,
)
from keys.services.registration import (
    approve_configuration,
    save_draft,
    save_outputs,
    shown_registration,
    submit_registration,
    withdraw,
)

__all__ = [
    "Drop",
    "Facts",
    "KeyState",
    "Texts",
    "admit_database",
    "approve_configuration",
    "ask_again",
    "cancel_drill",
    "change_request",
    "check_policy",
    "choose_documents",
    "close_incident",
    "compare_tests",
    "confirm_proposal",
    "control",
    "document",
    "drop_caches",
    "end_horizon",
    "facts_of",
    "granted_by_policy",
    "key_state",
    "last_drop",
    "leave",
    "likely_changes_of",
    "link_by_secret",
    "link_of",
    "make_link",
    "note_opened",
    "pending_proposal",
    "proposal_of",
    "propose",
    "read_key_states",
    "read_output",
    "read_test",
    "refuse_proposal",
    "remedies_of",
    "resume",
    "revoke_link",
    "rotate_branch_key",
    "save_draft",
    "save_outputs",
    "set_latency",
    "shown_registration",
    "start_drill",
    "start_test",
    "submit_registration",
    "suspend",
    "texts_of",
    "withdraw",
]
