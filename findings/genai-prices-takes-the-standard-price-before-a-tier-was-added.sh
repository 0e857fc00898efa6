#!/usr/bin/env bash
# genai-prices 0.2.3: the price of a service tier holds from the day on which it came into the
# package's data, not from when the provider had the tier. The same call with service_tier "flex" or
# "priority" is given the standard price one day earlier, without a word: calls of older days, whose
# time is passed as genai_request_timestamp to get the prices of then, come out at the double
# (flex) or at about half (priority). OpenAI has had flex for o3 since April 2025.
#
# Seen with Python 3.11 and genai-prices 0.2.3, for 1 million input tokens of o3:
#
#     2026-10-11: standard 2.0, flex 2.0, priority 2.0
#     2026-10-12: standard 2.0, flex 1.00, priority 3.500
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
env --unset=PIP_CONSTRAINT "$work/venv/bin/python" -m pip install --quiet genai-prices==0.2.3
cat >"$work/look.py" <<'PY'
from datetime import UTC, datetime

from genai_prices import Usage, calc_price


def price(day: int, tier: str) -> str:
    cost = calc_price(
        Usage(input_tokens=1_000_000, output_tokens=0),
        "o3",
        provider_id="openai",
        genai_request_timestamp=datetime(2026, 10, day, 12, tzinfo=UTC),
        price_context={"service_tier": tier} if tier != "standard" else None,
    )
    return f"{tier} {cost.total_price}"


for day in (11, 12):
    prices = ", ".join(price(day, tier) for tier in ("standard", "flex", "priority"))
    print(f"2026-10-{day}: {prices}")
PY
seen=$("$work/venv/bin/python" "$work/look.py")
printf '%s\n' "$seen"
[ "$seen" = '2026-10-11: standard 2.0, flex 2.0, priority 2.0
2026-10-12: standard 2.0, flex 1.00, priority 3.500' ] ||
  { echo 'this has changed' >&2; exit 1; }
