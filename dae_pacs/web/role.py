"""The roles of the console, each of which may do what those before it may."""

from enum import IntEnum

from dae_pacs.errors import InputError


class Role(IntEnum):
    """Who somebody is here."""

    PUBLIC = 0
    """Anyone who reaches the port: the log-in page, static files, health."""
    VIEWER = 1
    """Sees studies, names and pictures."""
    OPERATOR = 2
    """Also retries, reprocesses, releases and deletes, and sends in objects."""
    ADMINISTRATOR = 3
    """Also looks after accounts."""

    @property
    def label(self) -> str:
        """Its name for people and files."""
        return self.name.lower()

    @classmethod
    def of(cls, label: str) -> "Role":
        """Give the role of a name.

        Raises:
            InputError: there is no such role for accounts.
        """
        for role in (cls.VIEWER, cls.OPERATOR, cls.ADMINISTRATOR):
            if role.label == label:
                return role
        raise InputError(f"There is no role of that name; give {', '.join(ROLE_NAMES)}.")


ROLE_NAMES = (Role.VIEWER.label, Role.OPERATOR.label, Role.ADMINISTRATOR.label)
