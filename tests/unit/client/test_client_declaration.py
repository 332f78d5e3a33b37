"""What a module's author writes is checked at once, and a wrong field is named."""

from __future__ import annotations

import pytest

from zhihui_module import DataType, Module, Requirement
from zhihui_module.address import read_address
from zhihui_module.backoff import Backoff


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": ""}, "name:"),
        ({"name": 3}, "name:"),
        ({"model_hash": " "}, "model_hash:"),
        ({"description": None}, "description:"),
        ({"inputs": {"name": "a"}}, "inputs: must be a list"),
        ({"inputs": [3]}, r"inputs\[0\]: must be an object"),
        ({"inputs": [{"type": "table"}]}, r"inputs\[0\]\.name"),
        ({"outputs": [{"name": "a", "type": "tabel"}]}, r"outputs\[0\]\.type: 'tabel' is not one of string, number"),
        ({"outputs": [{"name": "a", "type": ["table"]}]}, r"outputs\[0\]\.type"),
        ({"outputs": [{"name": "a", "required": "yes"}]}, r"outputs\[0\]\.required"),
        ({"inputs": [{"name": "a", "from": 3}]}, r"inputs\[0\]\.from"),
        ({"inputs": [{"name": "a", "description": 3}]}, r"inputs\[0\]\.description"),
        ({"inputs": [{"name": "a", "typ": "any"}]}, r"inputs\[0\]\.typ: unknown"),
        ({"inputs": [{"name": "a"}, {"name": "a"}]}, r"inputs\[1\]\.name: 'a' is declared twice"),
        ({"concurrency": 0}, "concurrency:"),
        ({"concurrency": True}, "concurrency:"),
        ({"grace_s": -1}, "grace_s:"),
        ({"url": "ftp://host"}, "url:"),
        ({"url": "localhost:10080"}, "url:"),
        ({"key": "two\nlines"}, "key:"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Module(**{"name": "prices", "environ": {}, **options})


def test_requirements_reach_the_server_in_its_own_words() -> None:
    module = Module(
        "prices",
        inputs=[{"name": "days", "type": "number", "required": False, "from": "calendar", "description": "how many"}],
        outputs=[Requirement("stock_price", DataType.TABLE)],
        environ={},
    )
    body = module.declaration.as_json()
    assert body["input_data"] == [{"name": "days", "type": "number", "required": False, "from": "calendar", "description": "how many"}]
    assert body["output_data"] == [{"name": "stock_price", "type": "table", "required": True, "description": ""}]
    assert body["modelHash"] == "v1"


def test_one_handler_and_it_must_be_a_function() -> None:
    module = Module("prices", environ={})

    def generator(task: object) -> object:
        yield task

    with pytest.raises(ValueError, match="handler:"):
        module.handler(generator)
    module.handler(lambda task: None)
    with pytest.raises(ValueError, match="one already"):
        module.handler(lambda task: None)


def test_the_address_comes_from_arguments_then_the_environment_then_the_default() -> None:
    environ = {"ZHIHUI_URL": "https://zhihui.example.org/base/", "ZHIHUI_MODULE_KEY": "zk_secret"}
    address = read_address(None, None, environ)
    assert address.websocket("a b", "f00") == "wss://zhihui.example.org/base/websocket?hash=a%20b&protocol=2&process=f00"
    assert address.headers["Authorization"] == "Bearer zk_secret"
    assert "zk_secret" not in repr(address)
    assert address.is_ours("https://zhihui.example.org/files/1")
    assert not address.is_ours("https://elsewhere.example.org/files/1")
    assert read_address("http://h:1", "k", environ).url == "http://h:1"
    default = read_address(None, None, {})
    assert default.url == "http://127.0.0.1:10080"
    assert "Authorization" not in default.headers


def test_backoff_doubles_to_its_cap_with_full_jitter_and_begins_again() -> None:
    asked: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    backoff = Backoff(draw=draw)
    delays = [backoff.next_delay() for _ in range(8)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0])
    assert {low for low, _ in asked} == {0.0}
    backoff.reset()
    assert backoff.next_delay() == pytest.approx(0.1)
