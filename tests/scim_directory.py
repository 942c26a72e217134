"""A tenant's directory that speaks SCIM: what it sends, over HTTP, and what it is answered."""

from __future__ import annotations

import json
from typing import Any

from conftest import acting
from django.test import Client

from tenants import services
from tenants.models import Directory, DirectoryGroup, Member

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Scim:
    """The directory's side."""

    def __init__(self, owner: Member, **may: Any) -> None:
        self.owner, self.tenant = owner, owner.tenant
        self.directory: Directory = services.set_directory(owner.tenant, **may, actor=acting(owner))
        self.token, self.raw = services.make_directory_token(self.directory, actor=acting(owner))
        self._http = Client(raise_request_exception=True)

    def ask(self, method: str, path: str, body: Any = None, *, status: int, **headers: Any) -> Any:
        """Send a request, and return what is answered with that status."""
        given: dict[str, Any] = {"headers": {"authorization": f"Bearer {self.raw}", **headers}}
        if body is not None:
            data = body if isinstance(body, bytes | str) else json.dumps(body)
            given |= {"data": data, "content_type": given["headers"].pop("type", "application/scim+json")}
        answer = self._http.generic(method, f"/api/scim/v2/{self.tenant.pk}/{path}", **given)
        assert answer.status_code == status, (answer.status_code, answer.content[:500])
        if status >= 400:
            assert answer.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"], answer.content
            assert answer.json()["status"] == str(status)
        return answer.json() if answer.content else None

    def user(self, email: str, *, status: int = 201, **more: Any) -> str:
        """Name a person, and return the id."""
        body = {"schemas": [USER], "userName": email, "emails": [{"value": email, "type": "work"}], **more}
        return str(self.ask("POST", "Users", body, status=status).get("id", ""))

    def group(self, name: str, *people: str, role: str = "") -> str:
        """Name a group, and return the id; an owner gives it the role."""
        members = [{"value": one} for one in people]
        made = self.ask("POST", "Groups", {"schemas": [GROUP], "displayName": name, "members": members}, status=201)
        if role:
            group = DirectoryGroup.objects.get(pk=made["id"])
            services.set_group_role(group, role=role, actor=acting(self.owner))
        return str(made["id"])

    def patch(self, path: str, *operations: dict[str, Any], status: int = 200) -> Any:
        return self.ask("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, status=status)

    def switch(self, user: str, active: object) -> Any:
        return self.patch(f"Users/{user}", {"op": "replace", "path": "active", "value": active})
