"""The management commands: python -m server.commands NAME."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from server import evaluating, migrating
from server.config import Settings, SettingsError, read_settings
from server.context import Context
from server.dispatch import presence
from server.errors import DomainError, Invalid
from server.people import organization_notifications, setup
from server.people.hr import account_tasks, processing, runs
from server.people.password_rules import PasswordRules
from server.platform.schedules import actions
from server.resources import open_context
from server.scopes import system_actor

ACTOR = system_actor("command")


async def expire_modules(ctx: Context, arguments: argparse.Namespace) -> str:
    """Set every module offline; run it while no server runs."""
    return f"{await presence.expire_modules(ctx)} modules are offline now."


async def list_scheduled_jobs(ctx: Context, arguments: argparse.Namespace) -> str:
    """List all schedules with their next and last fires."""
    lines = [f"{'id':>4}  {'kind':8}  {'enabled':7}  {'next':25}  {'last':9}  {'cron':24}  name"]
    for job in await actions.list_jobs(ctx, ACTOR):
        following = job.next_run_time.isoformat(timespec="seconds") if job.next_run_time else "-"
        enabled = "yes" if job.enabled else "no"
        crons = " | ".join(job.cron) or "-"
        last = job.last_outcome or "-"
        lines.append(f"{job.id:>4}  {job.kind:8}  {enabled:7}  {following:25}  {last:9}  {crons:24}  {job.name}")
    return "\n".join(lines)


async def create_admin(ctx: Context, arguments: argparse.Namespace) -> str:
    """Create an administrator, or set the password of one and end its sessions."""
    password = os.environ.get("ADMIN_PASSWORD") or (
        getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    )
    try:
        await ctx.services.get(PasswordRules).check(password, arguments.username)
    except Invalid as error:
        raise SettingsError(error.fields["password"][0].english()) from None
    await setup.set_up(ctx, ACTOR)
    number = await setup.create_admin(ctx, ACTOR, arguments.username, password)
    return f"{arguments.username} (user {number}) is an administrator."


async def init_organization_notifications(ctx: Context, arguments: argparse.Namespace) -> str:
    """Give every organization a row for each kind of notification that it has none for."""
    filled = await organization_notifications.fill_in(ctx, ACTOR)
    return f"{filled.organizations} organizations, {filled.added} rows added."


async def sync_hr_persons(ctx: Context, arguments: argparse.Namespace) -> str:
    """Queue a sync of every HR source that is switched on, as the schedule does; a running server carries it out."""
    done = await runs.start_all(ctx, ACTOR)
    return f"{len(done['started'])} syncs were queued, {done['busy']} sources have one going on."


async def create_account_tasks(ctx: Context, arguments: argparse.Namespace) -> str:
    """Queue the making of account tasks for what HR changed, as the schedule does; a running server carries it out."""
    done = await account_tasks.derive_all(ctx)
    return f"{done['sources']} sources were queued."


async def process_account_creation_tasks(ctx: Context, arguments: argparse.Namespace) -> str:
    """Queue the work on account tasks that are due, as the schedule does; a running server carries it out."""
    done = await processing.process_all(ctx)
    return f"{done['targets']} targets were queued."


Command = Callable[[Context, argparse.Namespace], Awaitable[str]]
COMMANDS: dict[str, Command] = {
    "expire_modules": expire_modules,
    "list_scheduled_jobs": list_scheduled_jobs,
    "create_admin": create_admin,
    "sync_hr_persons": sync_hr_persons,
    "create_account_tasks": create_account_tasks,
    "process_account_creation_tasks": process_account_creation_tasks,
    "init_organization_notifications": init_organization_notifications,
}


def migrate(settings: Settings, arguments: argparse.Namespace) -> str:
    """Bring the database's tables up to this version, or to a given revision."""
    if arguments.down:
        migrating.downgrade(settings, arguments.down)
        return f"The database is at revision {arguments.down}."
    before, after = migrating.migrate(settings)
    return (
        f"The database is at revision {after}." if before == after else f"The database was migrated from {before or 'nothing'} to {after}."
    )


def make_migration(settings: Settings, arguments: argparse.Namespace) -> str:
    """Write a migration from the last revision to the tables as they are in the code; read it before you keep it."""
    return f"Wrote {migrating.make(arguments.message)}."


def parser() -> argparse.ArgumentParser:
    """One subparser a command, its help being the command's docstring."""
    made = argparse.ArgumentParser(prog="./manage.sh", description="Management commands.")
    named = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = named.add_parser("migrate", help=migrate.__doc__)
    one.add_argument("--down", metavar="REVISION", help="go back to this revision instead; `base` removes all tables")
    one = named.add_parser("make_migration", help=make_migration.__doc__)
    one.add_argument("message", help="what the migration does, in a line")
    evaluating.add_arguments(named.add_parser("eval", help=evaluating.evaluate.__doc__))
    for name, function in COMMANDS.items():
        one = named.add_parser(name, help=function.__doc__)
        if name == "create_admin":
            one.add_argument("username", nargs="?", default=setup.ADMIN)
    return made


WITHOUT_ENGINES: dict[str, Callable[[Settings, argparse.Namespace], str]] = {
    "migrate": migrate,
    "make_migration": make_migration,
    "eval": evaluating.evaluate,
}


async def _run(settings: Settings, command: Command, arguments: argparse.Namespace) -> str:
    async with AsyncExitStack() as stack:
        return await command(await open_context(settings, stack), arguments)


def main() -> int:
    arguments = parser().parse_args()
    try:
        settings = read_settings()
        if arguments.command in WITHOUT_ENGINES:
            print(WITHOUT_ENGINES[arguments.command](settings, arguments))
        else:
            print(asyncio.run(_run(settings, COMMANDS[arguments.command], arguments)))
    except (SettingsError, DomainError, migrating.SchemaBehind) as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
