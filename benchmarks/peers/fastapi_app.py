"""FastAPI + SQLAlchemy (async ORM) on the same file: token by PyJWT, session and user checked by a query, a page of 20 and the count."""

import os
from datetime import UTC, datetime
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Column, ForeignKey, Table, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

SECRET = os.environ["BENCH_SECRET"]
engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['BENCH_DATABASE']}")
new_session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


grants = Table(
    "role_grants",
    Base.metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("role_id", ForeignKey("roles.id"), primary_key=True),
)


class Role(Base):
    __tablename__ = "roles"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    name: Mapped[str]
    email: Mapped[str | None]
    kind: Mapped[str]
    state: Mapped[str]
    organization_id: Mapped[int]
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]
    roles: Mapped[list[Role]] = relationship(secondary=grants)


class Session(Base):
    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    username: str
    name: str
    email: str | None
    kind: str
    state: str
    organization_id: int
    roles: list[str]
    created_at: datetime
    last_login_at: datetime | None


class PageOut(BaseModel):
    items: list[UserOut]
    total: int
    page: int
    page_size: int


app = FastAPI()
bearer = HTTPBearer()


async def session():
    async with new_session() as opened:
        yield opened


async def current_user(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)], db: Annotated[AsyncSession, Depends(session)]
) -> int:
    try:
        claims = jwt.decode(credentials.credentials, SECRET, algorithms=["HS256"], audience="zhihui", issuer="zhihui")
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None
    wanted = (
        select(Session.ended_at, Session.expires_at, User.state)
        .join(User, User.id == Session.user_id)
        .where(Session.id == claims["sid"], User.id == int(claims["sub"]))
    )
    found = (await db.execute(wanted)).one_or_none()
    if found is None or found.ended_at is not None or found.expires_at <= datetime.now(UTC).replace(tzinfo=None) or found.state != "active":
        raise HTTPException(401)
    return int(claims["sub"])


@app.get("/api/users")
async def list_users(
    _user: Annotated[int, Depends(current_user)], db: Annotated[AsyncSession, Depends(session)], page: int = 1, page_size: int = 20
) -> PageOut:
    total = (await db.execute(select(func.count()).select_from(User))).scalar_one()
    wanted = select(User).options(selectinload(User.roles)).order_by(User.id).limit(page_size).offset((page - 1) * page_size)
    users = (await db.execute(wanted)).scalars().all()
    items = [
        UserOut(
            id=user.id,
            username=user.username,
            name=user.name,
            email=user.email,
            kind=user.kind,
            state=user.state,
            organization_id=user.organization_id,
            roles=[role.name for role in user.roles],
            created_at=user.created_at,
            last_login_at=user.last_login_at,
        )
        for user in users
    ]
    return PageOut(items=items, total=total, page=page, page_size=page_size)
