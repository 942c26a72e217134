"""The guide is pinned: titles, example names and every JSON block are compared with what the system renders."""

import json
import re
from pathlib import Path

import pytest

from keys.arns import KeyArn, RoleArn
from keys.policies import documents
from tenants import onboarding

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
BLOCKS = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
SERVICE_ROLE = "arn:aws:iam::<account-id>:role/<role-name>"
RENDERED = [
    documents.trust_policy(SERVICE_ROLE, "<Provided-External-ID>"),
    documents.permissions_policy("<your-cmk-arn>"),
    documents.key_policy_statement("<your-role-arn>"),
]


def test_the_guide_has_the_blocks_that_we_know() -> None:
    assert len(BLOCKS) == len(RENDERED)


@pytest.mark.parametrize("index", range(3))
def test_each_json_block_is_rendered_to_the_letter(index: int) -> None:
    assert documents.render(RENDERED[index]) == BLOCKS[index].strip()
    assert json.loads(BLOCKS[index]) == RENDERED[index]


def test_each_step_has_the_title_of_the_guide() -> None:
    titles = re.findall(r"^## Step:? (\d):? (.+)$", GUIDE, re.MULTILINE)
    assert [(int(number), title.strip()) for number, title in titles] == [
        (step.number, step.title) for step in onboarding.STEPS
    ]


def test_the_example_names_are_our_default_names() -> None:
    assert documents.ROLE_NAME in GUIDE
    assert documents.POLICY_NAME in GUIDE


def test_the_forms_of_the_guide_are_accepted() -> None:
    role = "arn:aws:iam::<your-account-id>:role/<role-name>"
    key = "arn:aws:kms:<region>:<your-account-id>:key/<key-id>"
    assert role in GUIDE
    assert key in GUIDE
    RoleArn.parse(role.replace("<your-account-id>", "111122223333").replace("<role-name>", documents.ROLE_NAME))
    filled = key.replace("<region>", "us-east-1").replace("<your-account-id>", "111122223333")
    KeyArn.parse(filled.replace("<key-id>", "1234abcd-12ab-34cd-56ef-1234567890ab"))


def test_the_actions_are_the_five_patterns_in_the_order_of_the_guide() -> None:
    assert re.findall(r'"(kms:[A-Za-z*]+)"', BLOCKS[1]) == list(documents.ACTIONS)
