"""Keys: how they are written, found, rotated, and never shown."""

import logging

import pytest

from server.api.security import ANONYMOUS, Caller, KeyRing, Keys
from server.errors import Forbidden, Unauthorized
from server.settings import Settings
from tests.server.security.conftest import ADMIN, KEY, OTHER


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def bearer(key):
    return {b"authorization": f"Bearer {key}".encode()}


def keys(api="", admin=""):
    return Keys(KeyRing("api_keys", api), KeyRing("admin_keys", admin))


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer " + KEY.encode()},
        {b"authorization": b"bearer  " + KEY.encode() + b" "},
        {b"x-api-key": KEY.encode()},
        {b"authorization": b"Basic c29tZTpwcm94eQ==", b"x-api-key": KEY.encode()},
    ],
    ids=["bearer", "spaced", "x-api-key", "behind-a-proxy"],
)
def test_a_key_comes_in_two_headers(headers):
    assert keys(f"shop:{KEY}").identify(headers) == Caller("shop")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(KEY[:-1]),
        bearer(KEY + "k"),
        bearer(KEY.upper()),
        bearer(""),
        {b"authorization": KEY.encode()},
        {b"authorization": b"Basic " + KEY.encode()},
        {b"x-api-key": b""},
        {b"x-api-key": b"\xff\xfe"},
        {b"cookie": KEY.encode()},
        bearer("shop:" + KEY),
    ],
)
def test_anything_else_is_nobody(headers):
    assert keys(f"shop:{KEY}").identify(headers) is None
    with pytest.raises(Unauthorized):
        keys(f"shop:{KEY}").require(headers)


def test_several_keys_are_good_at_once():
    ring = keys(f"old:{KEY}, new:{OTHER}")
    assert ring.identify(bearer(KEY)) == Caller("old")
    assert ring.identify(bearer(OTHER)) == Caller("new")


def test_keys_without_a_name_are_numbered():
    ring = keys(f"{KEY},{OTHER}")
    assert [ring.require(bearer(key)).name for key in (KEY, OTHER)] == ["key-1", "key-2"]


def test_without_keys_everybody_is_anonymous():
    assert not keys().required
    assert keys().require({}) is ANONYMOUS
    assert keys().require(bearer("made-up")) is ANONYMOUS


def test_an_admin_key_opens_everything_else_too():
    ring = keys(KEY, f"ops:{ADMIN}")
    assert ring.require(bearer(ADMIN)) == ring.require_admin(bearer(ADMIN)) == Caller("ops", is_admin=True)


@pytest.mark.parametrize("api", ["", KEY], ids=["open", "with-keys"])
def test_administration_is_off_until_there_is_an_admin_key(api):
    with pytest.raises(Forbidden, match="ENGRAM_ADMIN_KEYS"):
        keys(api).require_admin(bearer(KEY))


@pytest.mark.parametrize("api", ["", KEY], ids=["open", "with-keys"])
def test_a_wrong_admin_key_is_unauthorized(api):
    for headers in ({}, bearer("wrong")):
        with pytest.raises(Unauthorized):
            keys(api, ADMIN).require_admin(headers)


def test_a_good_key_of_the_other_kind_is_forbidden():
    with pytest.raises(Forbidden):
        keys(KEY, ADMIN).require_admin(bearer(KEY))


@pytest.mark.parametrize("listed", ["two words", "na me:key", "schlüssel", "a:" + "k" * 600])
def test_a_malformed_key_is_refused_without_being_repeated(listed):
    with pytest.raises(ValueError, match="ENGRAM_API_KEYS, entry 2") as refused:
        keys(f"{KEY},{listed}")
    assert listed not in str(refused.value)
    assert KEY not in str(refused.value)


def test_settings_never_show_keys():
    settings = Settings(api_keys=KEY, admin_keys=ADMIN)
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert KEY not in shown
    assert ADMIN not in shown


class TestFile:
    @pytest.fixture
    def file(self, tmp_path):
        file = tmp_path / "keys"
        file.write_text(f"# who may ask\nshop:{KEY}  # the shop\n\n{OTHER}\n")
        return file

    def test_one_key_a_line_with_comments_and_names(self, file):
        ring = Keys.of(Settings(api_keys_file=file, api_keys="env:" + "e" * 32))
        names = [ring.require(bearer(key)).name for key in (KEY, OTHER, "e" * 32)]
        assert names == ["shop", "key-2", "env"]

    def test_a_key_may_contain_a_hash(self, file):
        file.write_text("abc#def\n")
        assert Keys.of(Settings(api_keys_file=file)).identify(bearer("abc#def")) == Caller("key-1")

    def test_a_change_counts_without_a_restart(self, file):
        clock = Clock()
        ring = Keys(KeyRing("api_keys", "", file, clock), KeyRing("admin_keys"))
        assert ring.identify(bearer(KEY))
        file.write_text(f"new:{'n' * 32}\n")
        assert ring.identify(bearer(KEY)), "looked at once a second"
        clock.now = 1.5
        assert ring.identify(bearer(KEY)) is None
        assert ring.identify(bearer("n" * 32)) == Caller("new")

    def test_an_emptied_file_admits_nobody(self, file):
        clock = Clock()
        ring = Keys(KeyRing("api_keys", "", file, clock), KeyRing("admin_keys"))
        file.write_text("")
        clock.now = 2.0
        assert ring.required
        assert ring.identify(bearer(KEY)) is None
        assert ring.identify({}) is None

    @pytest.mark.parametrize("damage", ["gone", "malformed", "binary"])
    def test_a_damaged_file_leaves_the_keys_and_says_so_once(self, file, caplog, damage):
        clock = Clock()
        ring = Keys(KeyRing("api_keys", "", file, clock), KeyRing("admin_keys"))
        good = file.read_text()
        match damage:
            case "gone":
                file.unlink()
            case "malformed":
                file.write_text("two words\n")
            case "binary":
                file.write_bytes(b"\xff\xfe")
        with caplog.at_level(logging.WARNING):
            for clock.now in (2.0, 4.0, 6.0):
                assert ring.identify(bearer(KEY)) == Caller("shop")
        assert len(caplog.records) == 1
        assert KEY not in caplog.text
        file.write_text(good.replace(KEY, "x" * 32))
        clock.now = 8.0
        assert ring.identify(bearer("x" * 32)) == Caller("shop")

    @pytest.mark.parametrize("content", [None, "", "# nothing\n", "two words\n", b"\xff"])
    def test_a_useless_file_is_refused_at_the_start(self, tmp_path, content):
        file = tmp_path / "secret-place"
        if content is not None:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ValueError, match="ENGRAM_API_KEYS_FILE") as refused:
            Keys.of(Settings(api_keys_file=file))
        assert "secret-place" not in str(refused.value)

    def test_admin_keys_have_a_file_too(self, file):
        ring = Keys.of(Settings(admin_keys_file=file))
        assert ring.require_admin(bearer(KEY)) == Caller("shop", is_admin=True)
        assert not ring.required
