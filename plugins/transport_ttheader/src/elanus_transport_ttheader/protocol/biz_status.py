"""Business statuses as string keys of a reply's TTHeader.

Source: Kitex v0.16.3 ``pkg/transmeta/ttheader.go``, confirmed on the wire.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from elanus.errors import BizStatusError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["biz_status_strings", "read_biz_status"]

_STATUS, _MESSAGE, _EXTRA = "biz-status", "biz-message", "biz-extra"
# Go's encoding/json writes these escaped, since its output may end up in HTML.
_GO_ESCAPES = str.maketrans({each: f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"})


def biz_status_strings(status: BizStatusError) -> dict[str, str]:
    """The string keys that say *status*: the message always, the extra values only if there are some."""
    strings = {_STATUS: str(status.code), _MESSAGE: status.message}
    if status.extra:
        text = json.dumps(status.extra, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        strings[_EXTRA] = text.translate(_GO_ESCAPES)
    return strings


def read_biz_status(strings: Mapping[str, str]) -> BizStatusError | None:
    """The business status in a reply's string keys, or ``None``.

    A status that is missing, 0, no number or no 32-bit one is none, as for Kitex. Where the extra values are no JSON
    object of text, Kitex drops the whole status and the call looks successful; here the status stays, without them.
    """
    code = _code(strings.get(_STATUS, ""))
    if code == 0:
        return None
    return BizStatusError(code, strings.get(_MESSAGE, ""), _extra(strings.get(_EXTRA, "")))


def _code(text: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if len(digits) > 10 or not (digits.isascii() and digits.isdigit()):
        return 0
    code = int(text)
    return code if -(2**31) <= code < 2**31 else 0


def _extra(text: str) -> dict[str, str]:
    try:
        extra = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(extra, dict):
        return {}
    return {key: value for key, value in extra.items() if isinstance(value, str)}
