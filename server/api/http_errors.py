"""What can be wrong with a request before any model is asked: errors only HTTP knows.

They belong to the family of ``server.errors`` and share its envelope.
"""

from __future__ import annotations

from server.errors import InputError


class MalformedBody(InputError):
    """The body is not JSON: broken, not UTF-8, nested too deeply, or its compression is damaged."""

    code = "malformed_json"


class PayloadTooLarge(InputError):
    """The body is larger than the limit, as it came or once decompressed."""

    code = "payload_too_large"


class UnsupportedEncoding(InputError):
    """The body's ``Content-Encoding`` is none the server can undo."""

    code = "unsupported_encoding"


class MalformedRequest(InputError):
    """The bytes on the connection are not an HTTP request."""

    code = "malformed_request"


class HeadersTooLarge(InputError):
    """The request line and the headers have more bytes or more lines than the server takes."""

    code = "headers_too_large"


class RequestTimeout(InputError):
    """The request line and the headers did not arrive in time."""

    code = "request_timeout"


class NotFound(InputError):
    """Nothing lives at this path."""

    code = "not_found"


class MethodNotAllowed(InputError):
    """The path exists, and takes another method; ``details["allow"]`` lists them."""

    code = "method_not_allowed"


class Unsupported(InputError):
    """A part of a protocol that this server leaves out, such as shared memory."""

    code = "unsupported"


class ClientGone(Exception):
    """The client closed the connection before its answer was there; nothing can be sent."""
