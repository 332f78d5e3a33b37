"""The systems around the HR demo: an HR server with forty people, and a mail system that is told of accounts and may refuse one."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DEPARTMENTS = {
    "D0": ("大学 University", None),
    "D1": ("计算机学院 Computing", "D0"),
    "D2": ("理学院 Science", "D0"),
    "D3": ("人事处 Personnel", "D0"),
}
SURNAMES = "王李张刘陈杨黄赵吴周"
GIVEN = ("伟", "芳", "娜", "敏")
TOKEN = "the-token-of-the-demo"


class Systems:
    """Both systems on one port of loopback, in threads; what they answer can be changed while they run."""

    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        for number in range(40):
            employee_no = f"E{1000 + number}"
            self.people[employee_no] = {
                "employee_no": employee_no,
                "name": SURNAMES[number % 10] + GIVEN[number // 10],
                "email": f"{employee_no.lower()}@university.example",
                "department_code": f"D{1 + number % 3}",
                "title": "教师" if number % 4 else "教授",
                "status": "active",
                "start_date": "2020-09-01",
            }
        self.refused = {"E1007"}  # the mail system takes no account for these
        self.told: list[dict[str, Any]] = []
        systems = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self._answer(401, {"error": "the token is wrong"})
                elif address.path == "/departments":
                    rows = [{"code": code, "name": name, "parent_code": above} for code, (name, above) in DEPARTMENTS.items()]
                    self._answer(200, {"items": rows, "total": len(rows)})
                else:
                    asked = parse_qs(address.query)
                    page, size = int(asked["page"][0]), int(asked["page_size"][0])
                    people = list(systems.people.values())
                    self._answer(200, {"items": people[(page - 1) * size : page * size], "total": len(people)})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                systems.told.append(body)
                said = json.dumps(body)
                if any(f'"{employee_no}"' in said for employee_no in systems.refused):
                    self._answer(422, {"error": "the mailbox name is reserved"})
                else:
                    self._answer(200, {})

            def _answer(self, status: int, body: Any) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments: Any) -> None:
                """Silence: the demo tells its own story."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True, name="demo-hr").start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
