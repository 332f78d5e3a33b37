"""The schemas of our users and groups: RFC 7643's own, with the enterprise extension."""

from __future__ import annotations

from server.people.scim.schema_model import ENTERPRISE_URN, GROUP_URN, USER_URN, Attribute, ResourceKind


def _text(name: str, description: str, **more: object) -> Attribute:
    return Attribute(name=name, description=description, **more)  # type: ignore[arg-type]


def _listed(name: str, description: str, *types: str, value: Attribute | None = None) -> Attribute:
    """A multi-valued attribute of value, display, type and primary (RFC 7643, 2.4)."""
    return Attribute(
        name=name,
        type="complex",
        multi=True,
        description=description,
        sub=(
            value or _text("value", "The value."),
            _text("display", "How the value is shown."),
            _text("type", "What the value is for.", canonical=types),
            Attribute(name="primary", type="boolean", description="Whether it is the preferred one; true for one at most."),
        ),
    )


NAME = Attribute(
    name="name",
    type="complex",
    description="The parts of the person's name.",
    sub=(
        _text("formatted", "The full name, as it is shown."),
        _text("familyName", "The family name."),
        _text("givenName", "The given name."),
        _text("middleName", "The middle names."),
        _text("honorificPrefix", "What goes before the name."),
        _text("honorificSuffix", "What comes after the name."),
    ),
)
ADDRESSES = Attribute(
    name="addresses",
    type="complex",
    multi=True,
    description="Postal addresses.",
    sub=(
        _text("formatted", "The whole address, as it is shown."),
        _text("streetAddress", "Street, house and the like."),
        _text("locality", "The city."),
        _text("region", "The state or province."),
        _text("postalCode", "The postal code."),
        _text("country", "The country."),
        _text("type", "What the address is for.", canonical=("work", "home", "other")),
        Attribute(name="primary", type="boolean", description="Whether it is the preferred one; true for one at most."),
    ),
)
GROUPS = Attribute(
    name="groups",
    type="complex",
    multi=True,
    mutability="readOnly",
    description="The organizations that the user is a member of; changed at the groups alone.",
    sub=(
        _text("value", "The group's id.", mutability="readOnly", case_exact=True),
        Attribute(
            name="$ref",
            type="reference",
            references=("Group",),
            mutability="readOnly",
            case_exact=True,
            description="The group's address.",
        ),
        _text("display", "The group's name.", mutability="readOnly"),
        _text("type", "How the user belongs to it.", mutability="readOnly", canonical=("direct",)),
    ),
)
MANAGER = Attribute(
    name="manager",
    type="complex",
    description="The user's manager.",
    sub=(
        _text("value", "The manager's id.", case_exact=True),
        Attribute(name="$ref", type="reference", references=("User",), case_exact=True, description="The manager's address."),
    ),
)
USER = ResourceKind(
    name="User",
    endpoint="/Users",
    urn=USER_URN,
    description="A user account.",
    extension_urn=ENTERPRISE_URN,
    attributes=(
        _text("userName", "The name to sign in with, the same in any spelling of capitals.", required=True, uniqueness="server"),
        NAME,
        _text("displayName", "The name as it is shown."),
        _text("nickName", "What the person is called."),
        Attribute(name="profileUrl", type="reference", references=("external",), case_exact=True, description="A page about the person."),
        _text("title", "The job title."),
        _text("userType", "How the person belongs to the institution."),
        _text("preferredLanguage", "The preferred language, such as zh-CN."),
        _text("locale", "The locale, such as zh-CN."),
        _text("timezone", "The time zone, such as Asia/Shanghai."),
        Attribute(name="active", type="boolean", description="Whether the account may be used; false ends sessions and keys at once."),
        _text("password", "A new password; never shown.", mutability="writeOnly", returned="never", case_exact=True),
        _listed("emails", "Mail addresses; the primary one, else the first, is the account's own.", "work", "home", "other"),
        _listed("phoneNumbers", "Telephone numbers.", "work", "home", "mobile", "fax", "pager", "other"),
        _listed("ims", "Addresses for messages.", "aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"),
        _listed(
            "photos",
            "Addresses of pictures.",
            "photo",
            "thumbnail",
            value=Attribute(
                name="value", type="reference", references=("external",), case_exact=True, description="The picture's address."
            ),
        ),
        ADDRESSES,
        GROUPS,
        _listed("entitlements", "What the person is entitled to elsewhere; grants nothing here."),
        _listed("roles", "The person's roles elsewhere; grants nothing here."),
        _listed(
            "x509Certificates",
            "Certificates.",
            value=Attribute(name="value", type="binary", case_exact=True, description="The certificate, in DER and Base64."),
        ),
    ),
    extension=(
        _text("employeeNumber", "The number that the institution gave the person."),
        _text("costCenter", "The cost centre."),
        _text("organization", "The organization; the code of one of ours places a new user there."),
        _text("division", "The division."),
        _text("department", "The department; the code of one of ours places a new user there."),
        MANAGER,
    ),
)
GROUP = ResourceKind(
    name="Group",
    endpoint="/Groups",
    urn=GROUP_URN,
    description="An organization with its members.",
    attributes=(
        _text("displayName", "The organization's name.", required=True),
        Attribute(
            name="members",
            type="complex",
            multi=True,
            description="The members.",
            sub=(
                _text("value", "The member's id.", mutability="immutable", case_exact=True),
                Attribute(
                    name="$ref",
                    type="reference",
                    references=("User",),
                    mutability="immutable",
                    case_exact=True,
                    description="The member's address.",
                ),
                _text("type", "What the member is.", mutability="immutable", canonical=("User",)),
            ),
        ),
    ),
)
KINDS = (USER, GROUP)
